"""95 % intervals that suit what they are of.

A distribution distance is never bootstrapped with replacement: repeated items move it far above its own estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from scipy import stats

from miaobi.sampling.noise import integers, seeds_of, uniform

BLOCKS = 10
LEVEL = 0.95
RESAMPLES = 1000
_FEWEST_IN_BLOCK = 10
_FEWEST_RESAMPLED = 10
_MOST_DRAWN = 1 << 22

Interval = tuple[float, float]
Rows = np.ndarray


def blocks(count: int, seed: int) -> list[Rows]:
    """Ten disjoint blocks of equal size, in an order that ``seed`` fixes; none where a block would hold under 10."""
    size = count // BLOCKS
    if size < _FEWEST_IN_BLOCK:
        return []
    order = torch.argsort(uniform(seeds_of(seed, range(count)), "blocks")).numpy()
    return [order[i * size : (i + 1) * size] for i in range(BLOCKS)]


def from_blocks(value: float, estimates: Sequence[float]) -> Interval | None:
    """An interval around ``value`` from estimates on disjoint blocks: Student's t over their spread.

    Right for estimators whose mean does not depend on the count (kernel distance), and wide for those that gain more
    than linearly from a larger one.
    """
    if len(estimates) < 2:
        return None
    error = float(np.std(estimates, ddof=1)) / math.sqrt(len(estimates))
    return around(value, error, len(estimates) - 1)


def jackknife(value: float, count: int, seed: int, without: Callable[[Rows], float]) -> Interval | None:
    """An interval around ``value`` by leaving out one of ten disjoint blocks at a time (Shao and Tu 1995).

    Right for figures that depend on the count: nine tenths of the items move it little, a tenth would move it much.

    Args:
        value: the figure of all items.
        count: how many there are.
        seed: fixes the blocks.
        without: the figure of the rows that it is given.
    """
    held = blocks(count, seed)
    if not held:
        return None
    estimates = np.array([without(np.setdiff1d(np.arange(count), block)) for block in held])
    error = math.sqrt((BLOCKS - 1) / BLOCKS * float(((estimates - estimates.mean()) ** 2).sum()))
    return around(value, error, BLOCKS - 1)


def bootstrap(count: int, seed: int, figure: Callable[[Rows], float]) -> Interval | None:
    """The percentile interval over 1,000 resamples of items with replacement (Efron and Tibshirani 1993, chapter 13).

    For means and for ratios of sums over independent items; ``None`` below ten of them.

    Args:
        count: how many items there are.
        seed: fixes the resamples.
        figure: the figure of the rows that it is given, some of them more than once.
    """
    if count < _FEWEST_RESAMPLED:
        return None
    values = [figure(rows) for rows in resamples(count, seed)]
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def resamples(count: int, seed: int) -> Iterator[Rows]:
    """1,000 times ``count`` rows drawn with replacement, a bounded number of them in memory."""
    chunk = max(1, _MOST_DRAWN // count)
    for start in range(0, RESAMPLES, chunk):
        seeds = seeds_of(seed, range(start, min(start + chunk, RESAMPLES)))
        yield from integers(seeds, "bootstrap", count, (count,)).numpy()


def share(successes: int, count: int) -> Interval:
    """Wilson's interval of a share of independent items."""
    found = stats.binomtest(successes, count).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def of_mean(values: Sequence[float]) -> Interval | None:
    """Student's t for the mean of items."""
    return from_blocks(float(np.mean(values)), values)


def of_ratio(numerators: np.ndarray, denominators: np.ndarray) -> Interval | None:
    """Student's t for sum over sum, by linearising the ratio over items (Cochran 1977, section 6)."""
    count = len(numerators)
    if count < 2:
        return None
    ratio = numerators.sum() / denominators.sum()
    residuals = numerators - ratio * denominators
    error = math.sqrt(count / (count - 1) * float((residuals**2).sum())) / float(denominators.sum())
    return around(float(ratio), error, count - 1)


def around(value: float, error: float, freedom: int) -> Interval:
    """``value`` plus and minus Student's t times a standard error."""
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * error
    return value - half, value + half
