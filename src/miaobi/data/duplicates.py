"""Exact and near duplicates, and the groups that a split must keep together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from miaobi.data.reading import NAMED, Removed, Staged, unpacked
from miaobi.modalities import Modality
from miaobi.types import Form

NEAR = 0.9
"""Similarity from which two items are near duplicates."""
_COMPARED = 2
_CACHED = 1 << 12


class Groups:
    """Disjoint sets of ``count`` items (union-find with path halving)."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, item: int) -> int:
        """The set's representative: its lowest member."""
        parents = self._parents
        while parents[item] != item:
            parents[item] = item = parents[parents[item]]
        return item

    def join(self, left: int, right: int) -> None:
        """Put the sets of two items together."""
        low, high = sorted((self.find(left), self.find(right)))
        self._parents[high] = low

    def labels(self) -> np.ndarray:
        """``[count]`` int64: each item's representative."""
        return np.array([self.find(item) for item in range(len(self._parents))], dtype=np.int64)


@dataclass
class Duplicates:
    """What was found.

    Attributes:
        kept: ``[M]`` int64 rows that stay, in order.
        groups: ``[M]`` int64: equal for kept rows that must go one way.
        exact, near: what was removed, each naming what it repeats.
        near_kept: near-duplicate pairs that stay, in one group.
    """

    kept: np.ndarray
    groups: np.ndarray
    exact: Removed = field(default_factory=Removed)
    near: Removed = field(default_factory=Removed)
    near_kept: int = 0


def find_duplicates(
    staged: Staged, policy: str, columns: Mapping[str, Modality], *, grouped: bool = True
) -> Duplicates:
    """Decide what is removed and what belongs together.

    Of equal items the held-out one stays where the split is given, otherwise the first. Near duplicates have similar
    subjects; where another column differs (several captions of a picture) none is removed, but they are grouped.

    Args:
        staged: what was read.
        policy: ``exact`` or ``near`` (which removes both kinds), or ``keep``.
        columns: the modality of each column; the subject's says what is similar.
        grouped: find what belongs together too; a split by position has no use for it.
    """
    order = np.lexsort((np.arange(len(staged)), -staged.given))
    alive, exact = (order, Removed()) if policy == "keep" else _without_equals(staged, order)
    groups = Groups(len(staged))
    found = Duplicates(kept=np.sort(alive), groups=alive, exact=exact)
    if grouped or policy == "near":
        search = _NearSearch(staged, columns, groups, found)
        found.kept = np.sort(search.run(alive, remove=policy == "near"))
    if grouped:
        _join_sides(staged, found.kept, groups)
    found.groups = groups.labels()[found.kept]
    return found


def candidates(bands: np.ndarray) -> np.ndarray:
    """Pairs of items that share a band: ``[P, 2]`` int64 (earlier, later), sorted by the later.

    In a run of n items with an equal band each meets the one before it and the first two: 3n pairs, not n squared.
    """
    count = len(bands)
    codes = np.zeros(0, dtype=np.int64)
    for band in bands.T:
        order = np.argsort(band, kind="stable")
        same = np.r_[False, band[order][1:] == band[order][:-1]]
        starts = np.maximum.accumulate(np.where(same, 0, np.arange(count)))
        places = np.flatnonzero(same)
        others = [places - 1, *(starts[places] + step for step in range(_COMPARED))]
        pairs = [order[places[other < places]] * count + order[other[other < places]] for other in others]
        codes = np.union1d(codes, np.concatenate(pairs))
    return np.stack([codes % max(count, 1), codes // max(count, 1)], axis=1)


def _without_equals(staged: Staged, order: np.ndarray) -> tuple[np.ndarray, Removed]:
    """``order`` without rows whose id occurs earlier in it."""
    removed = Removed()
    known, first = np.unique(staged.ids[order], return_index=True)
    repeats = np.delete(order, first)
    originals = order[first][np.searchsorted(known, staged.ids[repeats])]
    for row, original in zip(repeats[:NAMED].tolist(), originals.tolist(), strict=False):
        where, other = staged.shelf.values("where", [row, original])
        removed.add(where, f"equals {other}")
    removed.count = len(repeats)
    return order[np.sort(first)], removed


class _NearSearch:
    """Compares candidates, the last few thousand items unpacked in memory; joins or removes what is nearly equal."""

    def __init__(
        self,
        staged: Staged,
        columns: Mapping[str, Modality],
        groups: Groups,
        found: Duplicates,
    ) -> None:
        self._staged = staged
        self._modality = columns[staged.subject]
        self._others = {name: modality for name, modality in columns.items() if name != staged.subject}
        self._groups = groups
        self._found = found
        self._item: Callable[[int], Any] = lru_cache(maxsize=_CACHED)(
            lambda row: self._unpacked(self._modality, staged.subject, row)
        )

    def run(self, alive: np.ndarray, *, remove: bool) -> np.ndarray:
        """Rows of ``alive`` that stay."""
        signed = alive[np.isin(alive, self._staged.signed)]
        bands = self._staged.bands[np.searchsorted(self._staged.signed, signed)]
        stays_for: dict[int, int] = {}
        for earlier, later in signed[candidates(bands)].tolist():
            original = stays_for.get(earlier, earlier)
            if later in stays_for or (not remove and self._groups.find(original) == self._groups.find(later)):
                continue
            if self._similarity(original, later) < NEAR:
                continue
            if remove and self._same_others(original, later):
                stays_for[later] = original
                where, other = self._staged.shelf.values("where", [later, original])
                self._found.near.add(where, f"nearly equals {other}")
            else:
                self._groups.join(original, later)
                self._found.near_kept += 1
        return alive[~np.isin(alive, np.fromiter(stays_for, dtype=np.int64))]

    def _similarity(self, left: int, right: int) -> float:
        subjects = self._staged.sides[self._staged.subject]
        if subjects[left] == subjects[right]:
            return 1.0
        return self._modality.similarity(self._item(left), self._item(right))

    def _same_others(self, left: int, right: int) -> bool:
        return all(self._alike(column, modality, left, right) for column, modality in self._others.items())

    def _alike(self, column: str, modality: Modality, left: int, right: int) -> bool:
        one, other = (self._unpacked(modality, column, row) for row in (left, right))
        if one is None or other is None:
            return one is other
        if modality.form is Form.LABEL:
            return modality.pack(one) == modality.pack(other)
        return modality.similarity(one, other) >= NEAR

    def _unpacked(self, modality: Modality, column: str, row: int) -> Any:
        return unpacked(self._staged, modality, column, row)


def _join_sides(staged: Staged, kept: np.ndarray, groups: Groups) -> None:
    """Join kept rows that share what identifies them, or the group column's value.

    One row's target may be what another's is preferred to, so those two columns are looked at together.
    """
    answers = [name for name in staged.sides if name in ("target", "extra.rejected")]
    alone = [side for name, side in staged.sides.items() if name not in answers]
    for sides in ([staged.sides[name] for name in answers], *([side] for side in (*alone, staged.groups))):
        values = np.concatenate([side[kept] for side in sides]) if sides else kept[:0]
        for run in _runs(values):
            if values[run[0]]:
                rows = kept[run % len(kept)].tolist()
                for row in rows[1:]:
                    groups.join(rows[0], row)


def _runs(values: np.ndarray) -> Iterator[np.ndarray]:
    """Places of equal values, in order, for each value that occurs more than once."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    ends = np.r_[starts[1:], len(values)]
    repeated = ends - starts > 1
    for start, end in zip(starts[repeated].tolist(), ends[repeated].tolist(), strict=True):
        yield order[start:end]
