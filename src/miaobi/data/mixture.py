"""Data sets made of others: some of one's rows, and the rows of several one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from miaobi.data.dataset import Augment, Dataset
from miaobi.data.loader import join
from miaobi.modalities import Item
from miaobi.sampling.noise import derive_one, seeds_of
from miaobi.types import Batch


class Subset(Dataset):
    """Chosen rows of a data set, in the order that they are given; a row may be chosen more than once.

    Args:
        whole: what they are of.
        rows: ``[M]`` int64, 0 to ``len(whole) - 1``.
    """

    def __init__(self, whole: Dataset, rows: np.ndarray) -> None:
        self._whole, self._rows = whole, np.asarray(rows, dtype=np.int64)
        self.part, self.modality = whole.part, whole.modality
        self.ids = whole.ids[torch.from_numpy(self._rows)]

    def batch(self, rows: Sequence[int], *, augment: Augment | None = None, shift: int = 0, epoch: int = 0) -> Batch:
        return self._whole.batch(self._inner(rows), augment=augment, shift=shift, epoch=epoch)

    def sizes(self) -> np.ndarray | None:
        sizes = self._whole.sizes()
        return None if sizes is None else sizes[self._rows]

    def items(self, rows: Sequence[int]) -> list[Item]:
        return self._whole.items(self._inner(rows))

    def condition_items(self, name: str, rows: Sequence[int]) -> list[Item | None]:
        return self._whole.condition_items(name, self._inner(rows))

    def _inner(self, rows: Sequence[int]) -> list[int]:
        chosen: list[int] = self._rows[np.asarray(rows, dtype=np.int64)].tolist()
        return chosen


class Joined(Dataset):
    """The rows of several data sets of one modality and one part, one data set after another.

    Args:
        parts: at least one.
    """

    def __init__(self, parts: Sequence[Dataset]) -> None:
        self._parts = list(parts)
        self.part, self.modality = parts[0].part, parts[0].modality
        self.ids = torch.cat([part.ids for part in parts])
        self._ends = np.cumsum([len(part) for part in parts])

    def batch(self, rows: Sequence[int], *, augment: Augment | None = None, shift: int = 0, epoch: int = 0) -> Batch:
        places, inner = self._places(rows)
        used = [which for which in range(len(self._parts)) if (places == which).any()]
        batches = [
            self._parts[which].batch(inner[places == which].tolist(), augment=augment, shift=shift, epoch=epoch)
            for which in used
        ]
        found = join(batches)
        order = np.argsort(np.concatenate([np.flatnonzero(places == which) for which in used]))
        return found if (order == np.arange(len(order))).all() else found.select(torch.from_numpy(order))

    def sizes(self) -> np.ndarray | None:
        sizes = [part.sizes() for part in self._parts if len(part)]
        return None if any(one is None for one in sizes) else np.concatenate([one for one in sizes if one is not None])

    def items(self, rows: Sequence[int]) -> list[Item]:
        return self._gathered(rows, lambda part, inner: part.items(inner))

    def condition_items(self, name: str, rows: Sequence[int]) -> list[Item | None]:
        return self._gathered(rows, lambda part, inner: part.condition_items(name, inner))

    def _gathered(self, rows: Sequence[int], read: Callable[[Dataset, list[int]], list[Any]]) -> list[Any]:
        places, inner = self._places(rows)
        found: list[Any] = [None] * len(places)
        for which, part in enumerate(self._parts):
            mine = np.flatnonzero(places == which)
            for place, item in zip(mine.tolist(), read(part, inner[mine].tolist()), strict=True):
                found[place] = item
        return found

    def _places(self, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Of each row, which data set has it, and its row there."""
        wanted = np.asarray(rows, dtype=np.int64)
        places = np.searchsorted(self._ends, wanted, side="right")
        starts = np.concatenate([[0], self._ends[:-1]])
        return places, wanted - starts[places]


def sample(data: Dataset, count: int, seed: int) -> Subset:
    """A fixed choice of ``count`` rows, by their ids alone; beyond what there is, all of them again and again.

    Every row is chosen equally often, or once more than others. A smaller choice is part of a larger one.
    """
    keys = seeds_of(derive_one(seed, "choice"), data.ids)
    order = torch.argsort(keys, stable=True).numpy()
    return Subset(data, np.resize(order, count) if len(data) else np.zeros(0, dtype=np.int64))
