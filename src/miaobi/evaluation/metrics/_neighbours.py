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
    best = np.full(len(queries), np.inf)
    where = np.zeros(len(queries), dtype=np.int64)
    offset = 0
    for batch in batches:
        for rows, block in distances(queries, batch):
            smallest, column = (found.numpy() for found in block.min(1))
            closer = smallest < best[rows]
            best[rows] = np.where(closer, smallest, best[rows])
            where[rows] = np.where(closer, column + offset, where[rows])
        offset += len(batch)
    return best, where
