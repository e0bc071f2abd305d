"""Latent traversal: what one number of the latent changes, all others held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, ClassVar

import torch
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.evaluation.context import Context, chunks, spaced
from miaobi.evaluation.report import Section
from miaobi.evaluation.understanding import _pictures as pictures
from miaobi.evaluation.understanding._base import Finding, View
from miaobi.evaluation.understanding._items import condition_note, held_out
from miaobi.families import Drawing, Latent
from miaobi.families.discrete import Discrete
from miaobi.modalities import Item
from miaobi.models import Model
from miaobi.sampling.noise import derive, seeds_of
from miaobi.types import Batch, Field

_SEEN = 256
_DIMENSIONS = 6
_STEPS = {"image": 7, "video": 5, "text": 5}
_FEWEST_STEPS = 3
_DIMENSIONS_HEARD = 3
_SPAN = 3.0
_BASES = 4
_MOST_TRIED = 256


@dataclass(frozen=True, slots=True)
class _Strip:
    """One number of the latent moved: how active it is, and what comes of each step."""

    dimension: int
    activity: float
    items: list[Item]


class LatentTraversal(View):
    """Each of the most active numbers of a latent moved from -3 to 3 deviations, all others as they were."""

    title: ClassVar[str] = "Latent traversal"
    paper: ClassVar[str] = (
        'Higgins et al. 2017, "beta-VAE: learning basic visual concepts with a constrained variational framework"'
    )

    @classmethod
    def check(cls, model: Model) -> None:
        family = model.family
        if not isinstance(family, Latent | Drawing):
            raise Unsupported(
                "this family has no latent",
                given=type(family).__name__,
                cure="look at a vae, sequence_vae, gan, style_gan or fast_gan",
            )
        if isinstance(family, Discrete):
            raise Unsupported("the latent is codes from a table, and there is nothing between two codes")

    def look(self, context: Context) -> Finding:
        walk = _inferred if isinstance(context.model.family, Latent) else _drawn
        strips, how = walk(context, _steps(context))
        rows = [_row(context, strip) for strip in strips]
        shown = f'<div class="scroll"><table><tr>{_head(_steps(context))}</tr>{"".join(rows)}</table></div>'
        note = condition_note(context, 0)
        body = (
            pictures.paragraph(how + (f" Under {note}." if note else ""))
            + shown
            + pictures.paragraph(f"{self.paper}.", faint=True)
        )
        figures = {"activity": {str(strip.dimension): strip.activity for strip in strips}, "span": [-_SPAN, _SPAN]}
        return Finding((Section(self.title, body),), figures)


def _steps(context: Context) -> Tensor:
    return torch.linspace(-_SPAN, _SPAN, _STEPS.get(context.modality.name, _FEWEST_STEPS))


def _dimensions(context: Context) -> int:
    return _DIMENSIONS if context.modality.name in _STEPS else _DIMENSIONS_HEARD


def _inferred(context: Context, steps: Tensor) -> tuple[list[_Strip], str]:
    """Of a family that infers its latent: from a held-out item's mean, the numbers whose means vary most over items."""
    family: Any = context.model.family
    rows = spaced(len(context.held), max(context.count, _SEEN))
    means, draws = _encoded(context, rows)
    _refuse_pixels(context, means)
    activity = _channels(means).var(0, correction=0).mean(1)
    spread = _channels(draws).transpose(0, 1).flatten(1)
    center, deviation = spread.mean(1), spread.std(1)
    batch = held_out(context, 0)
    start = family.encode(batch).values.float()
    strips = []
    for dimension in activity.argsort(descending=True)[: _dimensions(context)].tolist():
        z = start.expand(len(steps), *start.shape[1:]).clone()
        moved = (steps.to(z) * deviation[dimension]).view(-1, *[1] * (z.ndim - 2))
        z[:, dimension] = z[:, dimension] + moved if z.ndim > 2 else center[dimension] + moved
        items = _decoded(context, family.decode(Field(z), _told(batch, len(steps)), seeds=_same(context, len(steps))))
        strips.append(_Strip(dimension, float(activity[dimension]), items))
    return strips, _said_of_inferred(int(activity.gt(0.01).sum()), len(activity), len(rows), means.ndim > 2)


def _drawn(context: Context, steps: Tensor) -> tuple[list[_Strip], str]:
    """Of a family that draws its latent: from a draw, the numbers that change samples most between their ends."""
    family: Any = context.model.family
    batch = held_out(context, 0)
    seeds = derive(seeds_of(context.seed, range(_BASES)).to(family.device), "traversal")
    bases = family.latents(seeds)
    tried = spaced(bases.shape[1], _MOST_TRIED)
    activity = torch.tensor([_change(context, batch, bases, dimension) for dimension in tried])
    strips = []
    for place in activity.argsort(descending=True)[: _dimensions(context)].tolist():
        z = bases[:1].expand(len(steps), -1).clone()
        z[:, tried[place]] = steps.to(z)
        made = family.from_latents(z, _told(batch, len(steps)), seeds=_same(context, len(steps)))
        strips.append(_Strip(tried[place], float(activity[place]), _decoded(context, made)))
    how = (
        f"From one draw, {len(strips)} of {bases.shape[1]} numbers of the latent, each set to -3 to 3 deviations of "
        f"the unit normal that it is drawn from. Chosen are those ({len(tried)} were tried) between whose ends samples "
        f"differ most: the mean absolute difference of values in [-1, 1] over {_BASES} draws."
    )
    return strips, how


def _change(context: Context, batch: Batch, bases: Tensor, dimension: int) -> float:
    """How far apart samples are between a number's ends, on average."""
    family: Any = context.model.family
    z = torch.cat([bases, bases])
    z[: len(bases), dimension], z[len(bases) :, dimension] = -_SPAN, _SPAN
    made = family.from_latents(z, _told(batch, len(z)), seeds=_same(context, len(z))).values
    low, high = made.float().chunk(2)
    return float((high - low).abs().mean())


def _encoded(context: Context, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Means and draws of the latents of held-out items, ``[items, D, ...]``."""
    family: Any = context.model.family
    means, draws = [], []
    for chosen in chunks(rows, context.batch_rows):
        batch = context.held.batch(chosen, augment=None).to(family.device)
        means.append(family.encode(batch).values.float())
        draws.append(family.encode(batch, seeds=seeds_of(context.seed, batch.ids.tolist()).to(family.device)).values)
    return torch.cat(means), torch.cat(draws).float()


def _refuse_pixels(context: Context, means: Tensor) -> None:
    if means[0].numel() >= context.model.family.target.size and not context.model.family.target.max_length:
        raise Unsupported(
            "the latent is as large as the item, so one number of it is noise at one place",
            given=f"{means[0].numel()} numbers",
        )


def _said_of_inferred(active: int, size: int, items: int, spatial: bool) -> str:
    moved = (
        "each channel of it moved by -3 to 3 deviations at every place"
        if spatial
        else "each number set to -3 to 3 deviations around its mean"
    )
    return (
        f"From the first held-out item’s latent, {moved}, deviations being those of draws for {items} held-out items. "
        "Chosen are those whose posterior mean varies most from item to item (its variance is the activity; above 0.01 "
        f"it counts as active, Burda et al. 2015): {active} of {size} are active."
        + ("" if active else " The posterior has collapsed: the model makes nothing of its latent.")
    )


def _told(batch: Batch, rows: int) -> dict[str, Field]:
    return {name: field.map(lambda one: one.repeat_interleave(rows, 0)) for name, field in batch.conditions.items()}


def _same(context: Context, rows: int) -> Tensor:
    """One seed for all, so that what else is random stays as it is."""
    return seeds_of(context.seed, [0]).to(context.model.family.device).expand(rows)


def _decoded(context: Context, samples: Any) -> list[Item]:
    found = samples.to("cpu")
    arrays = context.model.modality.split_batch(found.values, found.lengths)
    return [context.modality.decode(array) for array in arrays]


def _head(steps: Tensor) -> str:
    names = [f"{step:+.1f} sd" if step else "0" for step in steps.tolist()]
    return "".join(f"<th>{name}</th>" for name in ("number", "activity", *names))


def _row(context: Context, strip: _Strip) -> str:
    cells = "".join(f"<td>{_shown(context, item)}</td>" for item in strip.items)
    return f'<tr><td class="number">{strip.dimension}</td><td class="number">{strip.activity:.3g}</td>{cells}</tr>'


def _shown(context: Context, item: Item) -> str:
    if context.modality.name == "text":
        return f'<div style="white-space:pre-wrap;min-width:9rem">{escape(str(item))}</div>'
    width = "6.6rem" if context.modality.name in _STEPS else "18rem"
    look = f"width:{width};padding:0;border:0;background:none"
    return f'<div class="card" style="{look}">{context.modality.html(item)}</div>'


def _channels(values: Tensor) -> Tensor:
    """``[items, D, places]`` of latents ``[items, D, *space]``."""
    return values.reshape(*values.shape[:2], -1)
