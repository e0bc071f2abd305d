"""What copies are looked for in, and how near a sample has to be to count as one: nearer than held-out items are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from miaobi.evaluation.context import chunks, spaced
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.metrics._words import elements

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

BY_CHANCE = "by_chance"
"""In a protocol's detail: the share of samples that may count as copies by chance, by their lengths, at most."""
MOSTLY = 0.5
"""A sequence of which less than half is another's is no copy of it, however little held-out items share."""
_BATCH = 512
_MOST = 500
"""Held-out items that are cut to one length."""
_FEWEST = 100
"""Held-out items that a length needs, or half of all: of a few, chance could be anything."""
_SIZES = tuple(size for power in range(2, 20) for size in (1 << power, 3 << (power - 1)))
"""Lengths that samples are told apart by: 4, 6, 8, 12, 16, 24, ..."""


def training_sequences(context: Context) -> Iterator[list[Sequence[str]]]:
    """Every training item as `elements`, a batch at a time."""
    for rows in chunks(range(len(context.prepared.train)), _BATCH):
        yield [elements(context.modality, array) for array in training_arrays(context, rows)]


def training_arrays(context: Context, rows: Sequence[int]) -> list[np.ndarray]:
    """Arrays of training rows; of a stream joined with the next window, whose first token is the last one's again."""
    train, stream = context.prepared.train, context.prepared.target.stream
    more = [*rows, rows[-1] + 1] if stream and rows[-1] + 1 < len(train) else list(rows)
    arrays = [array for found, _ in context.decoded(train, more) for array in found]
    if not stream:
        return arrays
    joined = [np.concatenate([left[:-1], right]) for left, right in pairwise(arrays)]
    return joined if len(more) > len(rows) else [*joined, arrays[-1]]


@dataclass(frozen=True, slots=True)
class Lengths:
    """Samples by their length, and held-out items cut to each of these lengths.

    A short sequence is found in some training item by chance, so it is measured by held-out ones that are as short.

    Attributes:
        of_samples: of each sample, the length that it is measured at.
        cut: by length, held-out sequences of no more than that.
    """

    of_samples: np.ndarray
    cut: dict[int, list[Sequence[str]]]

    @classmethod
    def of(cls, held: Sequence[Sequence[str]], generated: Sequence[Sequence[str]]) -> Lengths:
        """The lengths that samples have, each the longest of a fixed few that is no more than theirs."""
        longest = sorted(map(len, held))[-max(1, min(_FEWEST, len(held) // 2))]
        sizes = [size for size in _SIZES if size <= longest] or [_SIZES[0]]
        of_samples = np.array([max((s for s in sizes if s <= len(one)), default=sizes[0]) for one in generated])
        return cls(of_samples, {size: _cut(held, size) for size in np.unique(of_samples).tolist()})

    @property
    def sequences(self) -> list[Sequence[str]]:
        """All cut sequences, length by length."""
        return [one for part in self.cut.values() for one in part]

    def split(self, distances: np.ndarray) -> dict[int, np.ndarray]:
        """What was measured of `sequences`, by length."""
        ends = np.cumsum([len(part) for part in self.cut.values()])[:-1]
        return dict(zip(self.cut, np.split(distances, ends), strict=True))


def _cut(held: Sequence[Sequence[str]], size: int) -> list[Sequence[str]]:
    long = [one for one in held if len(one) >= size]
    return [long[row][:size] for row in spaced(len(long), _MOST)] or [one[:size] for one in held]


@dataclass(frozen=True, slots=True)
class Judged:
    """Which samples count, and how many would by chance.

    Attributes:
        copied: bool, of each sample.
        limits: by length, the distances that count.
        floor: the share of held-out items that would count, at the samples' lengths.
        by_chance: the share of samples that may count by chance, at most: of no length more than there are.
    """

    copied: np.ndarray
    limits: dict[int, list[float]]
    floor: float | None
    by_chance: float


def judge(
    distances: np.ndarray, lengths: np.ndarray, held: Mapping[int, np.ndarray], percentile: float, most: float = np.inf
) -> Judged:
    """Samples nearer, by any of several distances, than all but a small part of held-out items are.

    Args:
        distances: ``[n, k]`` of samples.
        lengths: ``[n]`` the key in ``held`` that each is measured by.
        held: ``[m, k]`` distances of held-out items.
        percentile: of the held-out items that count, over all k distances together.
        most: a distance from which on nothing is near, however far held-out items are.
    """
    copied, limits, floors, chance = np.zeros(len(distances), dtype=bool), {}, [], 0.0
    for length, yardstick in held.items():
        rows = lengths == length
        bound = _limits(yardstick, percentile)
        copied[rows] = _within(distances[rows], bound, most)
        limits[length] = bound.tolist()
        count = _by_halves(yardstick, percentile, most)
        floors.append(int(rows.sum()) * count / len(yardstick))
        chance += min(int(copied[rows].sum()), int(rows.sum()) * share(count, len(yardstick))[1])
    enough = min(map(len, held.values())) > 1
    return Judged(copied, limits, sum(floors) / len(distances) if enough else None, chance / len(distances))


def _limits(yardstick: np.ndarray, percentile: float) -> np.ndarray:
    found: np.ndarray = np.percentile(yardstick, percentile / yardstick.shape[1], axis=0)
    return found


def _within(distances: np.ndarray, limits: np.ndarray, most: float) -> np.ndarray:
    inside = (distances <= limits) & (distances < most)
    return np.asarray(inside.any(1))


def _by_halves(yardstick: np.ndarray, percentile: float, most: float) -> int:
    """How many held-out items are within the limits of the other half of them, both ways."""
    halves = yardstick[::2], yardstick[1::2]
    if not len(halves[1]):
        return 0
    pairs = ((halves[0], halves[1]), (halves[1], halves[0]))
    return sum(int(_within(one, _limits(other, percentile), most).sum()) for one, other in pairs)
