"""Euclidean distances between sets of vectors, a block at a time: memory does not grow with the product of the sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

_ROWS = 1024
_ROUNDING = 1e-12
"""Squared distances below this share of the vectors' squared norms are what rounding leaves of nought."""


def distances(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[slice, Tensor]]:
    """Rows of ``left`` and their float64 distances ``[rows, len(right)]`` to all of ``right``.

    A copy has distance nought, exactly: float64, where float32 would leave it at 1e-3 of the vectors' norms, and what
    is left is taken for nought, so that a copy of an item that comes often lies within that item's radius of nought.
    """
    b = torch.from_numpy(right).double()
    squares = (b * b).sum(1)
    for start in range(0, len(left), _ROWS):
        rows = slice(start, min(start + _ROWS, len(left)))
        a = torch.from_numpy(left[rows]).double()
        norms = (a * a).sum(1, keepdim=True) + squares
        squared = norms - 2 * a @ b.T
        yield rows, squared.masked_fill_(squared < _ROUNDING * norms, 0.0).sqrt_()


def kth_nearest(points: np.ndarray, k: int) -> np.ndarray:
    """Each point's distance to its ``k``-th nearest other point, ``float64 [n]``."""
    found = [d.kthvalue(k + 1, dim=1).values for _, d in distances(points, points)]
    return torch.cat(found).numpy()


def nearest(queries: np.ndarray, batches: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Each query's smallest distance to the vectors of ``batches`` and that vector's position among them all."""
    found, where = two_nearest(queries, batches)
    return found[:, 0], where


def two_nearest(queries: np.ndarray, batches: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Each query's two smallest distances ``[n, 2]`` to the vectors of ``batches``, and the nearest one's position.

    Of a single vector the second distance is infinite; of equally near ones the first counts as the nearest.
    """
    best = torch.full((len(queries), 2), torch.inf, dtype=torch.float64)
    where = torch.zeros(len(queries), dtype=torch.int64)
    offset = 0
    for batch in _larger(batches):
        for rows, block in distances(queries, batch):
            smallest, column = block.min(1)
            block.scatter_(1, column[:, None], torch.inf)
            merged = torch.cat([best[rows], smallest[:, None], block.amin(1, keepdim=True)], dim=1)
            where[rows] = torch.where(smallest < best[rows, 0], column + offset, where[rows])
            best[rows] = merged.sort(1).values[:, :2]
        offset += len(batch)
    return best.numpy(), where.numpy()


def _larger(batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same vectors, many at a time: a product of matrices is fast for large ones only."""
    held: list[np.ndarray] = []
    for batch in batches:
        held.append(batch)
        if sum(map(len, held)) >= _ROWS:
            yield np.concatenate(held)
            held = []
    if held:
        yield np.concatenate(held)
