"""Attention maps and rollout: which tokens each position took its information from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.evaluation.context import Context
from miaobi.evaluation.report import Section
from miaobi.evaluation.understanding import _pictures as pictures
from miaobi.evaluation.understanding._base import Finding, View
from miaobi.evaluation.understanding._items import condition_note, generated, held_out
from miaobi.evaluation.understanding._pictures import Word
from miaobi.evaluation.understanding._recording import Attended, Recording, attending, recording, rollout
from miaobi.evaluation.understanding._words import Speller, of_family, of_modality, spelled
from miaobi.families import Embedding, Family, Likelihood, Predicting, Sampling
from miaobi.families._reading import ReadingFamily
from miaobi.families.ranker import Ranker
from miaobi.models import Model
from miaobi.networks import Look, ReadingNetwork
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Form

_HELD, _MADE = 2, 2
_SHOWN = 40
"""Tokens of a map along each side: more cannot be read."""
_CAUTION = (
    "Attention is not explanation: other weights often give the same prediction (Jain and Wallace 2019, “Attention is "
    "not explanation”). A map says where information could come from; what a prediction hangs on "
    "is for the view of saliency."
)
_HOW = (
    "Weights are recomputed from queries and keys while the model reads each item whole; a row is a position, and its "
    "numbers sum to one over what it sees. Rollout multiplies the layers, half of each being the residual stream."
)


class Attention(View):
    """Where each position of a network looks, averaged and by layer and head, on held-out and generated items."""

    title: ClassVar[str] = "Attention"
    paper: ClassVar[str] = 'Abnar and Zuidema 2020, "Quantifying attention flow in transformers" (rollout)'

    @classmethod
    def check(cls, model: Model) -> None:
        if not attending(model.family):
            raise Unsupported(
                "no network of this model attends to tokens",
                given=type(model.family).__name__,
                cure="look at a model with the network transformer, encoder, encoder_decoder or attentive_recurrent",
            )
        if not isinstance(model.family, Predicting | Likelihood | Embedding | Ranker):
            raise Unsupported("this family has no way to read an item whole", given=type(model.family).__name__)

    def look(self, context: Context) -> Finding:
        seen = [self._item(context, index, made=False) for index in range(min(_HELD, context.count))]
        if isinstance(context.model.family, Sampling) and context.modality.form is not Form.LABEL:
            seen += [self._item(context, index, made=True) for index in range(min(_MADE, context.count))]
        stacks = [stack for item in seen for stack in item.stacks]
        if not stacks:
            raise Unsupported("there is one thing to attend to, so every weight is 1", cure="nothing is amiss")
        body = pictures.paragraph(_CAUTION) + pictures.paragraph(_HOW, faint=True) + _habits(stacks)
        body += "".join(_shown(item) for item in seen if item.stacks)
        body += pictures.paragraph(self.paper, faint=True)
        return Finding((Section(self.title, body),), {"heads": _heads(stacks)})

    def _item(self, context: Context, index: int, *, made: bool) -> _Item:
        batch = (generated if made else held_out)(context, index)
        with recording(context.model.family) as kept:
            _read(context.model.family, batch)
        note = condition_note(context, index)
        kind = f"{'Generated' if made else 'Held-out'} item {index + 1}{f' ({note})' if note else ''}"
        return _Item(kind, _stacks(context.model, batch, kept))


@dataclass(frozen=True, slots=True)
class _Stack:
    """The layers of one network that see the same; ``weights [H, L, S]`` each."""

    role: str
    looks: Look
    modules: list[str]
    weights: list[Tensor]
    rows: list[Word]
    columns: list[Word]


@dataclass(frozen=True, slots=True)
class _Item:
    title: str
    stacks: list[_Stack]


def _read(family: Family, batch: Batch) -> None:
    """Let a family read an item whole, without masking anything."""
    if isinstance(family, Predicting):
        family.predict(batch.conditions)
    elif isinstance(family, Likelihood):
        family.log_likelihood(batch, seeds=seeds_of(0, batch.ids.tolist()).to(family.device))
    elif isinstance(family, Embedding):
        family.embed(batch)
    elif isinstance(family, Ranker):
        family.score(batch.target, batch.conditions)


def _stacks(model: Model, batch: Batch, kept: Recording) -> list[_Stack]:
    found: dict[tuple[str, Look], list[Attended]] = {}
    for one in kept.attended.values():
        if one.weights.shape[-1] > 1:
            found.setdefault((one.role, one.looks), []).append(one)
    return [_stack(model, batch, kept, role, looks, layers) for (role, looks), layers in found.items()]


def _stack(model: Model, batch: Batch, kept: Recording, role: str, looks: Look, layers: Sequence[Attended]) -> _Stack:
    network = getattr(model.family, role)
    written = _written(model, role, kept)
    read = _source(model, batch, network) if isinstance(network, ReadingNetwork) else []
    weights = [one.weights[0] for one in layers]
    rows = read if looks is Look.AROUND and read else written
    columns = read if looks is Look.ACROSS else rows
    return _Stack(
        role,
        looks,
        [one.module for one in layers],
        weights,
        _numbered(rows, weights[0].shape[1]),
        _numbered(columns, weights[0].shape[2]),
    )


def _written(model: Model, role: str, kept: Recording) -> list[Word]:
    family = model.family
    speller = of_family(model, family.read) if isinstance(family, ReadingFamily) else of_family(model)
    return spelled(speller, kept.fed[role][0].tolist()) if role in kept.fed else []


def _source(model: Model, batch: Batch, network: ReadingNetwork) -> list[Word]:
    """What a network reads, in its order: tokens of texts, numbered places of anything else."""
    words: list[Word] = []
    for name, how in network.conditioner.how.items():
        field = batch.conditions.get(name)
        if how != "sequence":
            continue
        if field is None:
            words.append(Word(f"⟨{name}⟩", special=True))
        elif not bool(field.is_present()[0]):
            words.append(Word(f"⟨no {name}⟩", special=True))
        elif network.conditioner.specs[name].form is Form.TOKENS:
            speller: Speller = of_modality(model.conditions[name])
            words += spelled(speller, field.values[0].tolist())
    return words


def _numbered(words: Sequence[Word], count: int) -> list[Word]:
    """The words, or where they are not as many, numbers."""
    return list(words) if len(words) == count else [Word(str(i + 1)) for i in range(count)]


def _shown(item: _Item) -> str:
    maps = [_maps(stack) for stack in item.stacks]
    return pictures.heading(item.title) + "".join(maps)


def _maps(stack: _Stack) -> str:
    rows, columns = stack.rows[:_SHOWN], stack.columns[:_SHOWN]
    cut = len(rows) < len(stack.rows) or len(columns) < len(stack.columns)
    across = "rows look, columns are looked at" + (f"; the first {_SHOWN} tokens of it" if cut else "")
    mean = torch.stack([weights.mean(0) for weights in stack.weights]).mean(0)
    depth = f"{len(stack.weights)} layer{'s' if len(stack.weights) > 1 else ''}"
    heads = sum(len(weights) for weights in stack.weights)
    over = f"mean over {depth} of {heads // len(stack.weights)} heads" if heads > 1 else "its one head"
    title = f"{stack.role}, looking at {stack.looks.value}: {over}"
    cards = [pictures.heat_map(_cut(mean), rows, columns, title, across, _scale(stack, mean))]
    if stack.looks is not Look.ACROSS:
        flow = rollout(stack.weights)
        name = f"{stack.role}, looking at {stack.looks.value}: rollout through {depth}"
        cards.append(pictures.heat_map(_cut(flow), rows, columns, name, across, _scale(stack, flow)))
    each = [
        (f"layer {layer + 1}, head {head + 1}", _cut(weights[head]))
        for layer, weights in enumerate(stack.weights)
        for head in range(len(weights))
    ]
    beside = f'<div style="display:flex;flex-wrap:wrap;gap:.8rem">{"".join(cards)}</div>'
    if heads == 1:
        return beside
    return beside + pictures.small_maps(
        each, f"Each of {len(each)} heads of {stack.role}, looking at {stack.looks.value}"
    )


def _scale(stack: _Stack, weights: Tensor) -> float:
    """The largest weight that is shown, but for a first position that can see nothing else than itself."""
    shown = _cut(weights)
    return float(shown[1:].max() if stack.looks is Look.BACK and len(shown) > 1 else shown.max())


def _cut(weights: Tensor) -> np.ndarray:
    found: np.ndarray = weights[:_SHOWN, :_SHOWN].double().numpy()
    return found


def _habits(stacks: Sequence[_Stack]) -> str:
    header = ("network", "layer", "head", "sees", "entropy (bits)", "on itself", "on the first token", "mean distance")
    rows = [
        (
            one["network"],
            one["layer"],
            one["head"],
            one["sees"],
            *(one[key] for key in ("entropy", "itself", "first", "distance")),
        )
        for one in _heads(stacks)
    ]
    note = (
        "Means over the positions of the items below. Entropy is of a position's weights: 0 looks at one token only. "
        "The distance is in tokens. Much weight on the first token is often none on anything: a place to rest (Xiao et "
        "al. 2023, “Efficient streaming language models with attention sinks”)."
    )
    table = pictures.table(header, rows) + pictures.paragraph(note, faint=True)
    return f"<details open><summary>What each head does</summary>{table}</details>"


def _heads(stacks: Sequence[_Stack]) -> list[dict[str, Any]]:
    """Habits of each head over all items that it was seen on."""
    found: dict[tuple[str, Look, int, int], list[Tensor]] = {}
    for stack in stacks:
        for layer, weights in enumerate(stack.weights):
            for head, one in enumerate(weights):
                found.setdefault((stack.role, stack.looks, layer, head), []).append(one.double())
    return [
        {"network": role, "layer": layer + 1, "head": head + 1, "sees": looks.value, **_habit(looks, maps)}
        for (role, looks, layer, head), maps in found.items()
    ]


def _habit(looks: Look, maps: Sequence[Tensor]) -> dict[str, float | None]:
    entropy = torch.cat([-(one * one.clamp(min=1e-300).log2()).sum(1) for one in maps]).mean()
    if looks is Look.ACROSS:
        return {"entropy": float(entropy), "itself": None, "first": None, "distance": None}
    places = [torch.arange(len(one), dtype=torch.float64) for one in maps]
    apart = [(one * (at[:, None] - at[None]).abs()).sum(1) for one, at in zip(maps, places, strict=True)]
    return {
        "entropy": float(entropy),
        "itself": float(torch.cat([one.diagonal() for one in maps]).mean()),
        "first": float(torch.cat([one[:, 0] for one in maps]).mean()),
        "distance": float(torch.cat(apart).mean()),
    }
