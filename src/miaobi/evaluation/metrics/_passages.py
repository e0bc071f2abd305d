"""Held-out texts with a passage taken out: what stood before, in it, and after; and what a model puts in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from miaobi.evaluation.context import chunks
from miaobi.families import Sampling, require
from miaobi.sampling.noise import derive, seeds_of, uniform
from miaobi.types import Batch, Field

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


@dataclass(frozen=True, slots=True)
class Passage:
    """One held-out text; ``before + inside + after`` is all of it.

    ``position`` is its place among the context's rows. ``before`` ends with a letter and ``inside`` begins with the
    blanks that follow, because sub-word tokens join blanks to what comes after them.
    """

    position: int
    before: str
    inside: str
    after: str


def ends_of(texts: Sequence[str], share: float) -> list[Passage]:
    """Each text of two lines or more, without what follows ``share`` of its lines, at least one of them."""
    found = []
    for position, text in enumerate(texts):
        lines = text.split("\n")
        cut = min(max(1, round(share * len(lines))), len(lines) - 1)
        found.append(_passage(position, lines, cut, len(lines)))
    return [one for one in found if one is not None]


def gaps_of(texts: Sequence[str], share: float, seed: int) -> list[Passage]:
    """Each text of three lines or more without ``share`` of its lines in a row; the first and the last line stay."""
    places = uniform(seeds_of(seed, range(len(texts))), "gaps").tolist()
    found = []
    for position, (text, place) in enumerate(zip(texts, places, strict=True)):
        lines = text.split("\n")
        size = max(1, min(round(share * len(lines)), len(lines) - 2))
        start = 1 + int(place * max(1, len(lines) - 1 - size))
        found.append(_passage(position, lines, start, start + size) if len(lines) > 2 else None)
    return [one for one in found if one is not None]


def completed(context: Context, passages: Sequence[Passage]) -> list[str]:
    """What the model writes after each ``before``, to its end.

    Raises:
        Unsupported: the family does not sample, or continues no prefix.
    """
    family = require(context.model.family, Sampling, "completing held-out texts")
    modality, found = context.modality, []
    for some in chunks(passages, context.batch_rows):
        prefixes = [modality.encode(one.before) for one in some]
        seeds, batch = _rows(context, some, "complete")
        prefix = modality.collate(prefixes).to(context.model.family.device)
        made = family.sample(batch.conditions, prefix=prefix, controls=context.controls, seeds=seeds).to("cpu")
        arrays = modality.split_batch(made.values, made.lengths)
        for array, start in zip(arrays, prefixes, strict=True):
            whole = str(context.model.item(array, context.controls, start))
            found.append(whole[len(str(modality.decode(start))) :])
    return found


def filled(context: Context, passages: Sequence[Passage]) -> list[str]:
    """What an infilling model puts between each ``before`` and ``after``; stop strings are left out of the controls."""
    family: Any = context.model.family
    controls = context.controls.model_copy(update={"stop": ()})
    found = []
    for some in chunks(passages, context.batch_rows):
        sides = [(context.modality.encode(one.before), context.modality.encode(one.after)) for one in some]
        seeds, batch = _rows(context, some, "infill")
        target, mask = _gapped(context, sides)
        given = Batch(target, batch.conditions, ids=batch.ids)
        made = family.edit(given, mask, controls=controls, seeds=seeds).to("cpu")
        arrays = context.modality.split_batch(made.values, made.lengths)
        found += [
            str(context.modality.decode(array[len(before) : len(array) - len(after)]))
            for array, (before, after) in zip(arrays, sides, strict=True)
        ]
    return found


def _passage(position: int, lines: Sequence[str], start: int, stop: int) -> Passage | None:
    before = "\n".join(lines[:start]).rstrip()
    after = "\n".join(["", *lines[stop:]])
    text = "\n".join(lines)
    inside = text[len(before) : len(text) - len(after)]
    return Passage(position, before, inside, after) if before and inside.strip() else None


def _rows(context: Context, passages: Sequence[Passage], stream: str) -> tuple[Tensor, Batch]:
    batch = context.held.batch([context.rows[one.position] for one in passages], augment=None)
    seeds = derive(seeds_of(context.seed, [one.position for one in passages]), stream)
    device = context.model.family.device
    return seeds.to(device), batch.to(device)


def _gapped(context: Context, sides: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[Field, Tensor]:
    """Both sides around one token that stands for the gap, and a mask that is true there."""
    gap = np.zeros(1, dtype=np.int64)
    target = context.modality.collate([np.concatenate([before, gap, after]) for before, after in sides])
    places = torch.tensor([len(before) for before, _ in sides])
    mask = torch.arange(target.values.shape[1])[None] == places[:, None]
    device = context.model.family.device
    return target.to(device), mask.to(device)
