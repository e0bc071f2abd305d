"""Saliency over word vectors: of the next token, of a masked one, of a class or a number read from a text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from miaobi.evaluation.context import Context
from miaobi.evaluation.understanding import _pictures as pictures
from miaobi.evaluation.understanding._embedded import Embedded, Looked
from miaobi.evaluation.understanding._gradients import gradient_x_input, integrated_gradients, slopes
from miaobi.evaluation.understanding._items import condition_note, held_out
from miaobi.evaluation.understanding._pictures import Word
from miaobi.evaluation.understanding._words import Speller, of_family, of_modality, spelled
from miaobi.families._reading import ReadingFamily
from miaobi.families.autoregressive import Autoregressive
from miaobi.families.masked_lm import MaskedLM
from miaobi.models import Model
from miaobi.networks import ReadingNetwork
from miaobi.types import Batch, Field, Form

_MOST = 48
"""Tokens of an item that are looked at: its first."""
_MAPS = 2
_CONDITION = "conditioner.encoders."


@dataclass(frozen=True)
class Question:
    """What a model is asked of one item.

    Attributes:
        says: ``[rows, T]`` log-probabilities (or numbers) of copies of the item, each of T things that it says.
        wanted: a name for each of the T.
        unit: of what is said.
        causal: whether thing t is said before the words from ``first + t`` on are read.
        first: where in the last look-up thing 0 would stand.
    """

    says: Callable[[int], Tensor]
    wanted: list[str]
    unit: str = "nats of log-probability"
    causal: bool = False
    first: int = 0


def applies(model: Model) -> bool:
    """Whether the family predicts from tokens through a network."""
    family = model.family
    if isinstance(family, ReadingFamily):
        return family.conditions[family.read].form is Form.TOKENS
    return isinstance(family, Autoregressive | MaskedLM) and family.target.form is Form.TOKENS


def explain(context: Context) -> tuple[str, list[dict[str, Any]]]:
    """HTML and figures of the context's held-out items."""
    parts, figures = [], []
    for index in range(context.count):
        made = _explained(context, index)
        if made is not None:
            parts.append(made[0])
            figures.append(made[1])
    note = pictures.paragraph(
        "The baseline has the average word vector for every word; the model’s own tokens stay. Of longer items the "
        f"first {_MOST} tokens. Of a language model: the token of the second half that reading has helped most.",
        faint=True,
    )
    return note + "".join(parts), figures


def _explained(context: Context, index: int) -> tuple[str, dict[str, Any]] | None:
    model, batch = context.model, _shortened(held_out(context, index))
    question = _question(model, batch)
    if question is None:
        return None
    embedded = Embedded(model.family, question.says)
    words = [spelled(_speller(model, one), one.tokens.tolist()) for one in embedded.looked]
    baseline = embedded.baseline(lambda one: _special(model, one))
    at_input, at_baseline = (embedded.score(x[None])[0] for x in (embedded.x, baseline))
    chosen = _chosen(at_input - at_baseline)

    def score(x: Tensor) -> Tensor:
        return embedded.score(x)[:, chosen]

    simple = embedded.by_word(gradient_x_input(score, embedded.x, baseline))
    whole = embedded.by_word(integrated_gradients(score, embedded.x, baseline))
    change = float(at_input[chosen] - at_baseline[chosen])
    total = float(sum(part.sum() for part in whole))
    figures = {
        "item": index + 1,
        "says": question.wanted[chosen],
        "value": float(at_input[chosen]),
        "value_at_baseline": float(at_baseline[chosen]),
        "attributed": total,
        "words": [[word.text for word in part] for part in words],
        "gradient_x_input": [part.tolist() for part in simple],
        "integrated_gradients": [part.tolist() for part in whole],
    }
    title = f"Item {index + 1}: {_said(question, chosen, float(at_input[chosen]))}"
    note = condition_note(context, index) if not isinstance(model.family, ReadingFamily) else ""
    shown = question.first + chosen if question.causal else None
    marked = question.wanted[chosen] if question.causal else ""
    body = pictures.heading(title) + (pictures.paragraph(note, faint=True) if note else "")
    body += pictures.paragraph(
        f"From {at_baseline[chosen]:.3f} at the baseline to {at_input[chosen]:.3f} {question.unit}: a change of "
        f"{change:+.3f}; integrated gradients add up to {total:+.3f}.",
        faint=True,
    )
    for name, values in (("Integrated gradients", whole), ("Gradient × input", simple)):
        body += _coloured(name, embedded.looked, words, values, shown, marked)
    if question.causal and index < _MAPS and len(question.wanted) > 1:
        body += _map(embedded, baseline, question, words[-1])
    return body, figures


def _coloured(
    name: str, looked: list[Looked], words: list[list[Word]], values: list[Tensor], shown: int | None, marked: str
) -> str:
    """A text a look-up; of the last one what stands before the ``marked`` token."""
    cards = []
    for place, (one, row, numbers) in enumerate(zip(looked, words, values, strict=True)):
        last = place == len(looked) - 1
        end = shown if last else None
        title = name if len(looked) == 1 else f"{name}, {_place(one, last)}"
        cards.append(pictures.coloured(row[:end], numbers[:end].tolist(), title, marked if last else ""))
    return "".join(f'<div style="margin:.5rem 0">{card}</div>' for card in cards)


def _map(embedded: Embedded, baseline: Tensor, question: Question, words: list[Word]) -> str:
    """Of every token how much it hangs on each one before it: gradient times input."""
    count = len(question.wanted)

    def each(x: Tensor) -> Tensor:
        return embedded.score(x).diagonal()

    slope = slopes(each, embedded.x.expand(count, -1))
    values = embedded.by_word(slope * (embedded.x - baseline))[-1]
    rows = [Word(text) for text in question.wanted]
    title = "Gradient × input of every token’s log-probability, in nats"
    return pictures.heat_map(values.double().cpu().numpy(), rows, words, title, "rows are said, columns are read")


def _chosen(gains: Tensor) -> int:
    """Of several things the one of the second half that reading has helped most: there is something to see."""
    half = len(gains) // 2
    return half + int(gains[half:].argmax())


def _said(question: Question, chosen: int, value: float) -> str:
    if question.unit.startswith("nats"):
        return f"“{question.wanted[chosen]}” with probability {torch.tensor(value).exp():.3f}"
    return f"{question.wanted[chosen]} = {value:.4g}"


def _place(one: Looked, last: bool) -> str:
    if _CONDITION in one.table:
        return f"over the condition {one.table.split(_CONDITION)[1].split('.')[0]}"
    return "over what is written so far" if last else "over what is read"


def _speller(model: Model, one: Looked) -> Speller:
    if _CONDITION in one.table:
        return of_modality(model.conditions[one.table.split(_CONDITION)[1].split(".")[0]])
    family = model.family
    return of_family(model, family.read) if isinstance(family, ReadingFamily) else of_family(model)


def _special(model: Model, one: Looked) -> Tensor:
    marks = [word.special for word in spelled(_speller(model, one), one.tokens.tolist())]
    return torch.tensor(marks, dtype=torch.bool, device=one.vectors.device)


def _shortened(batch: Batch) -> Batch:
    def cut(field: Field) -> Field:
        if field.values.ndim != 2 or field.values.is_floating_point() or field.values.shape[1] <= _MOST:
            return field
        lengths = None if field.lengths is None else field.lengths.clamp(max=_MOST)
        weight = None if field.weight is None else field.weight[:, :_MOST]
        return replace(field, values=field.values[:, :_MOST], lengths=lengths, weight=weight)

    return replace(
        batch, target=cut(batch.target), conditions={name: cut(field) for name, field in batch.conditions.items()}
    )


def _question(model: Model, batch: Batch) -> Question | None:
    """What to ask; ``None`` where the item is too short to ask anything."""
    family = model.family
    if isinstance(family, ReadingFamily):
        return _of_reader(model, family, batch)
    if isinstance(family, MaskedLM):
        return _of_masked(model, family, batch)
    return _of_writer(model, cast(Autoregressive, family), batch)


def _of_reader(model: Model, family: ReadingFamily, batch: Batch) -> Question:
    def says(rows: int) -> Tensor:
        return family.said(_copies(batch.conditions, rows), rows)

    if family.target.form is not Form.LABEL:
        return Question(lambda rows: says(rows)[:, :1], ["the number (as the network says it)"], "units")
    best = int(says(1)[0].argmax())
    wanted = str(model.modality.decode(torch.tensor(best).numpy()))
    return Question(lambda rows: says(rows).log_softmax(1)[:, [best]], [wanted])


def _of_masked(model: Model, family: MaskedLM, batch: Batch) -> Question | None:
    length = int(batch.target.mask().sum())
    spell = model.modality.spell
    tokens = batch.target.values[0].tolist()
    order = sorted(range(length), key=lambda place: abs(place - length // 2))
    place = next((one for one in order if spell(tokens[one]).strip().isalnum()), None)
    if place is None:
        return None
    values = batch.target.values.clone()
    values[0, place] = family.frame.mask
    framed, real = family.frame(replace(batch.target, values=values))

    def says(rows: int) -> Tensor:
        told = _copies(batch.conditions, rows)
        logits = family.network(framed.expand(rows, -1), told, real=real.expand(rows, -1))
        logits = logits[:, place + 1, : family.target.vocabulary].float()
        never = torch.tensor(family.never, dtype=torch.int64, device=logits.device)
        return logits.index_fill(1, never, float("-inf")).log_softmax(1)[:, [tokens[place]]]

    return Question(says, [Word(spell(tokens[place])).label])


def _of_writer(model: Model, family: Autoregressive, batch: Batch) -> Question | None:
    reads = isinstance(family.network, ReadingNetwork)
    tokens, weight = family.layout.sequence(replace(batch, conditions={}) if reads else batch)
    outputs = family.layout.outputs
    places = [place for place in (weight[0] > 0).nonzero()[:, 0].tolist() if int(tokens[0, place]) != outputs.end]
    if len(places) < 2:
        return None
    wanted = tokens[0, places]
    banned = torch.tensor([] if outputs.banned is None else [outputs.banned], dtype=torch.int64, device=tokens.device)

    def says(rows: int) -> Tensor:
        told = _copies(batch.conditions, rows) if reads else {}
        logits = family.network(tokens[:, :-1].expand(rows, -1), told)
        logits = logits[:, [place - 1 for place in places], : outputs.size].float()
        log_probs = logits.index_fill(2, banned, float("-inf")).log_softmax(2)
        return log_probs.gather(2, wanted.expand(rows, -1)[..., None])[..., 0]

    words = [word.label for word in spelled(of_family(model), wanted.tolist())]
    return Question(says, words, causal=True, first=places[0])


def _copies(conditions: dict[str, Field], rows: int) -> dict[str, Field]:
    return {name: field.map(lambda one: one.repeat_interleave(rows, 0)) for name, field in conditions.items()}
