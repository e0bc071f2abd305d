"""Real content without its order: what a model has to beat to show that it has learnt more than which parts there are.

Training items with their words (of a text), notes (of music), or positions (pixels, samples) shuffled within each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from symusic import Note

from miaobi.errors import Unsupported
from miaobi.evaluation.context import Context
from miaobi.evaluation.metrics._words import is_text, one_line, tokenizer_of
from miaobi.modalities import Item, Modality
from miaobi.sampling.noise import seeds_of, uniform
from miaobi.types import Form


class Shuffled(Context):
    """A context whose samples are as many training items, evenly spaced, each shuffled within itself."""

    @classmethod
    def of(cls, context: Context) -> Shuffled:
        """The same data, count and seed as another context."""
        return cls(
            context.model,
            context.prepared,
            part=context.requested_part,
            count=context.requested,
            seed=context.seed,
            extractor=context._extractor,
        )

    @cached_property
    def generated(self) -> list[np.ndarray]:
        found = self.decoded(self.prepared.train, self.training_rows)
        pairs = [pair for arrays, items in found for pair in zip(arrays, items, strict=True)]
        return shuffle(self.modality, [array for array, _ in pairs], [item for _, item in pairs], self.seed)


def shuffle(modality: Modality, arrays: Sequence[np.ndarray], items: Sequence[Item], seed: int) -> list[np.ndarray]:
    """Arrays of items with what is in each in another order, which ``seed`` fixes.

    Args:
        modality: fitted, and not a representation.
        arrays: of the items; what tensors are shuffled by.
        items: the same, decoded.
        seed: item i depends on it and on i only.

    Raises:
        Unsupported: of labels.
    """
    if modality.form is Form.TENSOR:
        return _positions(modality, arrays, seed)
    if is_text(modality):
        spaced = tokenizer_of(modality, items) != "char"
        return [modality.encode(_words(one_line(item), spaced, seed, row)) for row, item in enumerate(items)]
    if modality.name == "music":
        return [modality.encode(_notes(item, seed, row)) for row, item in enumerate(items)]
    raise Unsupported(f"{modality.name} has no order to lose", cure="compare models of texts, music or tensors")


def _positions(modality: Modality, arrays: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    values = modality.collate(arrays).values
    flat = values.flatten(2)
    order = uniform(seeds_of(seed, range(len(flat))), "shuffle", flat.shape[2:]).argsort(1)
    return modality.split_batch(flat.gather(2, order[:, None].expand_as(flat)).view_as(values), None)


def _words(text: str, spaced: bool, seed: int, row: int) -> str:
    parts = text.split() if spaced else list(text)
    return (" " if spaced else "").join(parts[place] for place in _order(len(parts), seed, row, "words"))


def _notes(piece: Any, seed: int, row: int) -> Any:
    """Every voice keeps its pitches, its durations and when its notes begin, each in another order than the others."""
    piece = piece.copy()
    for number, track in enumerate(piece.tracks):
        columns = {name: column.copy() for name, column in track.notes.numpy().items()}
        for name in ("pitch", "duration"):
            order = _order(len(columns[name]), seed, row, f"{name} {number}")
            columns[name] = columns[name][order]
        track.notes = Note.from_numpy(columns["time"], columns["duration"], columns["pitch"], columns["velocity"])
    return piece


def _order(count: int, seed: int, row: int, stream: str) -> np.ndarray:
    return torch.argsort(uniform(seeds_of(seed, [row]), stream, (count,))[0]).numpy()
