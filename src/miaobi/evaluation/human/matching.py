"""Sets of items of like length, one of each system, so that length gives nothing away and earns nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from miaobi.evaluation.context import spaced

LENGTH_RATIO = 1.25
"""The longest item of a set is at most this many times its shortest."""


def matched(
    lengths: Sequence[Sequence[int]], count: int, *, aligned: bool = False, ratio: float = LENGTH_RATIO
) -> list[tuple[int, ...]]:
    """At most ``count`` sets of positions, one of each system, every position in one set at most.

    Args:
        lengths: of each system's items.
        count: how many sets are wanted; evenly spaced among those that there are.
        aligned: position i of every system was made from the same conditions: only such sets are made.
        ratio: the longest of a set over its shortest, at most.
    """
    sizes = [np.maximum(1, np.asarray(one, dtype=np.float64)) for one in lengths]
    sets = [(position,) for position in range(min(map(len, sizes)) if aligned else len(sizes[0]))]
    for size in sizes[1:]:
        if aligned:
            sets = [(*found, found[0]) for found in sets]
        else:
            others = _assigned(sizes[0][[found[0] for found in sets]], size, ratio)
            sets = [(*found, others[i]) for i, found in enumerate(sets) if i in others]
    close = [found for found in sets if _spread(found, sizes) <= ratio]
    return [close[i] for i in spaced(len(close), count)]


def _assigned(left: np.ndarray, right: np.ndarray, ratio: float) -> dict[int, int]:
    """Positions of ``left`` to those of ``right`` at the least sum of differences of log-lengths."""
    cost = np.abs(np.log(left)[:, None] - np.log(right)[None])
    # What is too far apart costs as much as anything can, and is left out.
    rows, columns = linear_sum_assignment(np.where(cost > np.log(ratio) + 1e-9, 1e3, cost))
    return {int(row): int(column) for row, column in zip(rows, columns, strict=True) if cost[row, column] < 1e3}


def _spread(positions: Sequence[int], sizes: Sequence[np.ndarray]) -> float:
    found = [size[position] for position, size in zip(positions, sizes, strict=True)]
    return float(max(found) / min(found)) - 1e-9
