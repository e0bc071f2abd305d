"""Two samples of numbers as smoothed densities on one grid: how much of them overlaps, and their divergence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve
from scipy.stats import norm

_CELLS_A_WIDTH = 8
_MOST_CELLS = 1 << 16
_REACH = 5.0
_SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Densities:
    """Probabilities of the cells of a grid, and at the end of having no value, ``[cells + 1]`` each."""

    left: np.ndarray
    right: np.ndarray

    @property
    def area(self) -> float:
        """What they share, 0 to 1."""
        return float(np.minimum(self.left, self.right).sum())

    @property
    def divergence(self) -> float:
        """Kullback-Leibler divergence from ``left`` to ``right`` in nats, at most about 28."""
        held = self.right > _SMALLEST
        ratios = self.right[held] / np.maximum(self.left[held], _SMALLEST)
        return float((self.right[held] * np.log(ratios)).sum())


def densities(left: np.ndarray, right: np.ndarray, least: float) -> Densities:
    """Gaussian kernel density estimates of two samples, NaN standing for no value.

    Both have the bandwidth that Scott's rule (1992) gives ``right``, the real side, so that a constant one has a
    density too and neither is smoothed more than the other.

    Args:
        left: numbers.
        right: numbers.
        least: the narrowest bandwidth.
    """
    known = [side[~np.isnan(side)] for side in (left, right)]
    if not (len(known[0]) and len(known[1])):
        shares = [len(one) / len(side) for one, side in zip(known, (left, right), strict=True)]
        return Densities(*(np.array([share, 1 - share]) for share in shares))
    width = max(float(known[1].std()) * len(known[1]) ** -0.2, least)
    both = np.concatenate(known)
    low, high = both.min() - _REACH * width, both.max() + _REACH * width
    cells = min(int(np.ceil((high - low) / width * _CELLS_A_WIDTH)), _MOST_CELLS)
    spacing = (high - low) / cells / width
    reach = int(np.ceil(_REACH / spacing))
    kernel = norm.pdf(np.arange(-reach, reach + 1) * spacing)
    kernel /= kernel.sum()
    found = []
    for side, one in zip((left, right), known, strict=True):
        counts = np.histogram(one, bins=cells, range=(low, high))[0] / len(side)
        smooth = np.maximum(fftconvolve(counts, kernel, mode="same"), 0)
        found.append(np.append(smooth, 1 - len(one) / len(side)))
    return Densities(*found)
