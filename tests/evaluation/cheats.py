"""Families that look good by one figure or another without having learnt anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from symusic import Note
from torch import Tensor

from miaobi.evaluation import Context, Score, score
from miaobi.evaluation.ranking import figures
from miaobi.evaluation.shuffled import shuffle
from miaobi.models import Model
from miaobi.sampling.noise import integers, noise, seeds_of
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
    more = _of_sequences(real, arrays, items) if modality.form is Form.TOKENS else _of_pictures(real, arrays)
    return {
        "copier": arrays,
        "constant": [arrays[0]],
        "few": arrays[:5],
        "shuffler": shuffle(modality, arrays, items, seed=11),
        "noise": _noise(real, arrays),
        "cutter": _cut(modality, arrays),
        "mixture": _mixed(real, arrays),
        **more,
    }


def _mixed(real: Context, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """A fifth of copies among items that nobody trained on."""
    rows = [row % len(real.prepared.validation) for row in range(len(arrays))]
    held = [array for found, _ in real.decoded(real.prepared.validation, rows) for array in found]
    return [copy if row % 5 == 0 else fresh for row, (copy, fresh) in enumerate(zip(arrays, held, strict=True))]


def _of_sequences(real: Context, arrays: Sequence[np.ndarray], items: Sequence[Any]) -> dict[str, list[np.ndarray]]:
    modality = real.modality
    found = {
        "snippets": [array[: len(array) // 3] for array in arrays],
        "half scraps": [array if row % 2 else array[:4] for row, array in enumerate(arrays)],
    }
    if modality.name == "music":
        others = [*items[1:], items[0]]
        return {
            **found,
            "transposer": [modality.encode(item.shift_pitch(-12)) for item in items],
            "arranger": [modality.encode(_arranged(*both)) for both in zip(items, others, strict=True)],
        }
    words = [item.split() for item in items]
    others = [*words[1:], words[0]]
    return {
        **found,
        "spacer": [modality.encode("  ".join(one)) for one in words],
        "editor": [modality.encode(" ".join(_edited(*both))) for both in zip(words, others, strict=True)],
        "gluer": [modality.encode(" ".join(_glued(words, row))) for row in range(len(words))],
    }


def _arranged(piece: Any, other: Any) -> Any:
    """The pitches of one melody in the rhythm of another."""
    piece = piece.copy()
    columns = {name: column.copy() for name, column in piece.tracks[0].notes.numpy().items()}
    rhythm = other.tracks[0].notes.numpy()
    count = min(len(columns["pitch"]), len(rhythm["time"]))
    pitches = columns["pitch"][:count], columns["velocity"][:count]
    piece.tracks[0].notes = Note.from_numpy(rhythm["time"][:count], rhythm["duration"][:count], *pitches)
    return piece


def _edited(words: list[str], others: list[str]) -> list[str]:
    return [other if place % 5 == 4 else word for place, (word, other) in enumerate(zip(words, others, strict=False))]


def _glued(words: list[list[str]], row: int) -> list[str]:
    """A third of each of three items."""
    three = [words[(row + step) % len(words)] for step in range(3)]
    return [word for part, one in enumerate(three) for word in one[len(one) * part // 3 : len(one) * (part + 1) // 3]]


def _of_pictures(real: Context, arrays: Sequence[np.ndarray]) -> dict[str, list[np.ndarray]]:
    means = [np.stack(arrays[start::10]).astype(np.float64).mean(0) for start in range(10)]
    collapsed = _grained([means[row % 10] for row in range(len(arrays))])
    return {
        "grain": _grained(arrays),
        "faded": [(one * 0.8).astype(np.uint8) for one in arrays],
        "collapsed": [*collapsed[:-6], *_noise(real, arrays[:6])],
    }


def _grained(arrays: Sequence[np.ndarray], strength: float = 25.0) -> list[np.ndarray]:
    grain = strength * noise(seeds_of(5, range(len(arrays))), "grain", arrays[0].shape).numpy()
    return [np.clip(np.rint(one + more), 0, 255).astype(np.uint8) for one, more in zip(arrays, grain, strict=True)]


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
