"""Saliency over pixels: of a class or a number read from a picture, and of a GAN's critic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from miaobi.evaluation.charts import short
from miaobi.evaluation.context import Context
from miaobi.evaluation.understanding import _pictures as pictures
from miaobi.evaluation.understanding._gradients import Scorer, gradient_x_input, integrated_gradients
from miaobi.evaluation.understanding._items import condition_note, generated, held_out
from miaobi.families._reading import ReadingFamily
from miaobi.families.gan import GAN
from miaobi.models import Model
from miaobi.types import Batch, Field, Form, Spec

_BLACK = -1.0
_SIDE = 112


@dataclass(frozen=True)
class _Asked:
    """One picture ``x [C, H, W]``, how it is shown, and the score that is explained."""

    title: str
    html: str
    x: Tensor
    score: Scorer


def applies(model: Model) -> bool:
    """Whether a picture is read: by a classifier or a regressor, or by a GAN's critic."""
    family = model.family
    if isinstance(family, ReadingFamily):
        return _is_picture(family.conditions[family.read])
    return isinstance(family, GAN) and _is_picture(family.target)


def explain(context: Context) -> tuple[str, list[dict[str, Any]]]:
    """HTML and figures of the context's items: for a critic generated ones as well."""
    asked = _of_reader if isinstance(context.model.family, ReadingFamily) else _of_critic
    found = [_explained(one) for index in range(context.count) for one in asked(context, index)]
    note = "The baseline is black (-1 everywhere): what is black gets nothing. Channels are added up."
    body = pictures.paragraph(note, faint=True) + pictures.grid([html for html, _ in found], "25rem")
    return body, [figures for _, figures in found]


def _explained(asked: _Asked) -> tuple[str, dict[str, Any]]:
    baseline = torch.full_like(asked.x, _BLACK)
    simple = gradient_x_input(asked.score, asked.x, baseline)
    whole = integrated_gradients(asked.score, asked.x, baseline)
    value, black = asked.score(torch.stack([asked.x, baseline])).tolist()
    total = float(whole.sum())
    figures = {"says": asked.title, "value": value, "value_at_baseline": black, "attributed": total}
    maps = "".join(
        _overlay(name, part.sum(0).double().cpu().numpy())
        for name, part in (("integrated gradients", whole), ("gradient × input", simple))
    )
    caption = (
        f"{asked.title}: {short(value)}, black has {short(black)}; integrated gradients add up to {total:+.4g} "
        f"of {value - black:+.4g}"
    )
    html = (
        f'<figure class="card"><div style="display:flex;gap:.6rem;flex-wrap:wrap">{_framed(asked.html, "as it is")}'
        f"{maps}</div><figcaption>{escape(caption)}</figcaption></figure>"
    )
    return html, figures


def _overlay(name: str, values: np.ndarray) -> str:
    largest = float(np.abs(values).max(initial=0))
    height, width = values.shape
    size = f"width:{_SIDE * width // max(values.shape)}px;height:{_SIDE * height // max(values.shape)}px"
    image = (
        f'<img src="{pictures.source(pictures.paint(values, largest))}" alt="{name}" '
        f'style="{size};image-rendering:pixelated;outline:1px solid var(--line)">'
    )
    return _framed(image, f"{name}, up to {short(largest)}")


def _framed(html: str, caption: str) -> str:
    return f'<div style="max-width:{_SIDE}px">{html}<p class="note">{escape(caption)}</p></div>'


def _of_reader(context: Context, index: int) -> list[_Asked]:
    model, batch = context.model, held_out(context, index)
    family = cast(ReadingFamily, model.family)
    field = batch.conditions[family.read]
    if not bool(field.is_present()[0]):
        return []
    says = _saying(family, batch)
    numbers = says(field.values)[0]
    (item,) = context.held.condition_items(family.read, [context.rows[index]])
    html = model.conditions[family.read].html(item)
    if family.target.form is not Form.LABEL:
        return [_Asked("the number (as the network says it)", html, field.values[0], lambda x: says(x)[:, 0])]
    best, true = int(numbers.argmax()), int(batch.target.values[0])
    name, right = (str(model.modality.decode(np.array(one))) for one in (best, true))
    title = f"log-probability of “{name}”" + ("" if best == true else f" (it is “{right}”)")
    return [_Asked(title, html, field.values[0], lambda x: says(x).log_softmax(1)[:, best])]


def _saying(family: ReadingFamily, batch: Batch) -> Callable[[Tensor], Tensor]:
    others = {name: field for name, field in batch.conditions.items() if name != family.read}

    def says(x: Tensor) -> Tensor:
        told = {name: field.map(lambda one: one.repeat_interleave(len(x), 0)) for name, field in others.items()}
        return family.said({**told, family.read: Field(x)}, len(x))

    return says


def _of_critic(context: Context, index: int) -> list[_Asked]:
    family, modality = cast(GAN, context.model.family), context.model.modality
    note = condition_note(context, index)
    asked = []
    for kind, batch in (("real", held_out(context, index)), ("generated", generated(context, index))):
        (array,) = modality.split_batch(batch.target.values.cpu(), None)
        title = f"critic’s score, the higher the more real, of a {kind} picture" + (f" ({note})" if note else "")
        x = batch.target.values[0]
        asked.append(_Asked(title, modality.shown.html(modality.decode(array)), x, _criticism(family, batch)))
    return asked


def _criticism(family: GAN, batch: Batch) -> Scorer:
    def score(x: Tensor) -> Tensor:
        told = {name: f.map(lambda one: one.repeat_interleave(len(x), 0)) for name, f in batch.conditions.items()}
        logits: Tensor = family.discriminator(x, told)
        return logits.flatten().float()

    return score


def _is_picture(spec: Spec) -> bool:
    return spec.form is Form.TENSOR and spec.dims == 2
