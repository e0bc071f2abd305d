"""Sets of items of like length, one of each system, so that length gives nothing away and earns nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from miaobi.evaluation.context import spaced

LENGTH_RATIO = 1.25
"""The longest item of a set is at most this many times its shortest."""
_ROUNDING = 1e-9
_FORBIDDEN = 1e3


def matched(
    lengths: Sequence[Sequence[int]],
    count: int,
    *,
    keys: Sequence[Sequence[str]] | None = None,
    ratio: float = LENGTH_RATIO,
) -> list[tuple[int, ...]]:
    """At most ``count`` sets of positions, one of each system, every position in one set at most.

    Args:
        lengths: of each system's items.
        count: how many sets are wanted; evenly spaced among those that there are.
        keys: what each item was made from: a set's items share it.
        ratio: the longest of a set over its shortest, at most.
    """
    sizes = [np.maximum(1, np.asarray(one, dtype=np.float64)) for one in lengths]
    sets: list[tuple[int, ...]] = [(position,) for position in range(len(sizes[0]))]
    for system in range(1, len(sizes)):
        first = [found[0] for found in sets]
        apart = np.abs(np.log(sizes[0][first])[:, None] - np.log(sizes[system])[None])
        allowed = apart <= np.log(ratio) + _ROUNDING
        if keys is not None:
            allowed &= np.array(keys[0])[first][:, None] == np.array(keys[system])[None]
        others = _assigned(apart, allowed)
        sets = [(*found, others[i]) for i, found in enumerate(sets) if i in others]
    close = [found for found in sets if _spread(found, sizes) <= ratio + _ROUNDING]
    return [close[i] for i in spaced(len(close), count)]


def _assigned(apart: np.ndarray, allowed: np.ndarray) -> dict[int, int]:
    """Rows to columns, as many as are allowed, at the least sum of what they are apart."""
    rows, columns = linear_sum_assignment(np.where(allowed, apart, _FORBIDDEN))
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if allowed[row, column]}


def _spread(positions: Sequence[int], sizes: Sequence[np.ndarray]) -> float:
    found = [size[position] for position, size in zip(positions, sizes, strict=True)]
    return float(max(found) / min(found))
