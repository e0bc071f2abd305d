"""Families that look good by one figure or another without having learnt anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from miaobi.evaluation import Context, Score, score
from miaobi.evaluation.ranking import figures
from miaobi.evaluation.shuffled import shuffle
from miaobi.models import Model
from miaobi.sampling.noise import integers, seeds_of
from miaobi.training.comparison.rows import Measuring
from miaobi.types import Field, Form, Samples
from tests.evaluation.stand_ins import Sampler


class Giving(Sampler):
    """Gives the arrays that it was made with, one a seed, whatever it is asked under."""

    def __init__(self, modality: Any, arrays: Sequence[np.ndarray]) -> None:
        super().__init__(modality, [modality.decode(arrays[0])])
        self.pool, self.given = modality.collate(arrays), 0

    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        rows = (torch.arange(len(seeds)) + self.given) % len(self.pool)
        self.given += len(seeds)
        chosen = self.pool.select(rows)
        return Samples(chosen.values, chosen.lengths)


def cheats(real: Context) -> dict[str, list[np.ndarray]]:
    """Arrays of every cheat, from the training part that an honest context knows."""
    train, modality = real.prepared.train, real.modality
    rows = integers(seeds_of(7, range(real.count)), "row", len(train)).tolist()
    pairs = [pair for arrays, items in real.decoded(train, rows) for pair in zip(arrays, items, strict=True)]
    arrays, items = [array for array, _ in pairs], [item for _, item in pairs]
    return {
        "copier": arrays,
        "constant": [arrays[0]],
        "few": arrays[:5],
        "shuffler": shuffle(modality, arrays, items, seed=11),
        "noise": _noise(real, arrays),
        "cutter": _cut(modality, arrays),
        **({"snippets": [array[: len(array) // 3] for array in arrays]} if modality.form is Form.TOKENS else {}),
    }


def scored(real: Context, how: Measuring) -> dict[str, dict[str, Score]]:
    """The scores of every cheat, measured as the honest model is."""
    found = {}
    for name, arrays in cheats(real).items():
        model = Model(Giving(real.modality, arrays), real.model.modality, {}, real.model.info)
        context = Context(model, real.prepared, count=how.samples, seed=how.seed, extractor=how.extractor)
        found[name] = score(context, figures(real.modality, how.quality))
    return found


def _noise(real: Context, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    seeds = seeds_of(3, range(len(arrays)))
    if real.modality.form is Form.TENSOR:
        return [integers(seed[None], "noise", 256, arrays[0].shape)[0].numpy().astype(np.uint8) for seed in seeds]
    size = real.modality.spec.vocabulary
    return [
        integers(seed[None], "noise", size, array.shape)[0].numpy() for seed, array in zip(seeds, arrays, strict=True)
    ]


def _cut(modality: Any, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first half of one training item and the second of another."""
    others = [*arrays[1:], arrays[0]]
    return [
        np.concatenate([left[: len(left) // 2], right[len(right) // 2 :]])
        for left, right in zip(arrays, others, strict=True)
    ]
