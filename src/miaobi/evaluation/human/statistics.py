"""Estimates from answers, with intervals that know that a rater answers often and an item is answered about often.

Answers are arrays of one length: ``values``, and for each the numbers of its rater and of its set of items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import Literal

import evalica
import numpy as np
import pandas as pd
from scipy import stats

from miaobi.evaluation.metrics._intervals import LEVEL, RESAMPLES, Interval
from miaobi.sampling.noise import derive_one, integers, seeds_of

POWER = 0.8
_Z = float(stats.norm.ppf((1 + LEVEL) / 2))
_DRAWN = 1.0
Level = Literal["nominal", "ordinal", "interval"]
_LEVELS: dict[str, Level] = {"likert": "ordinal", "pairs": "nominal", "real": "nominal"}


def reweighted(raters: np.ndarray, sets: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Weights of the answers in 1,000 resamples with replacement of raters and, apart from that, of sets.

    The pigeonhole bootstrap (Owen 2007, "The pigeonhole bootstrap"): never too narrow, whichever of the two varies. Of
    a single rater, or a single set, only the other is resampled.
    """
    many = [codes for codes in (raters, sets) if codes.max(initial=0) > 0]
    counts = [int(codes.max()) + 1 for codes in many]
    drawn = [
        integers(seeds_of(derive_one(seed, axis), range(RESAMPLES)), "raters and items", count, (count,)).numpy()
        for axis, count in enumerate(counts)
    ]
    for number in range(RESAMPLES):
        weights = np.ones(len(raters))
        for codes, count, rows in zip(many, counts, drawn, strict=True):
            weights = weights * np.bincount(rows[number], minlength=count)[codes]
        if weights.any():
            yield weights


def resampled(
    raters: np.ndarray, sets: np.ndarray, seed: int, figure: Callable[[np.ndarray], np.ndarray | float]
) -> np.ndarray:
    """The percentile intervals ``[2, ...]`` of what ``figure`` gives for the weights of a resample."""
    found = np.array([figure(weights) for weights in reweighted(raters, sets, seed)])
    return np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)


def mean(values: np.ndarray, raters: np.ndarray, sets: np.ndarray, seed: int) -> tuple[float, Interval | None]:
    """The mean answer and its interval over raters and items; none of a single set by a single rater."""
    value = float(values.mean())
    if not raters.max(initial=0) and not sets.max(initial=0):
        return value, None
    low, high = resampled(raters, sets, seed, lambda weights: float(np.average(values, weights=weights)))
    return value, (float(low), float(high))


def difference(
    left: np.ndarray, values: np.ndarray, raters: np.ndarray, sets: np.ndarray, seed: int
) -> tuple[float, Interval]:
    """Mean of the answers where ``left`` is true less that of the others; raters and sets are shared by both."""

    def of(weights: np.ndarray) -> float:
        if not weights[left].any() or not weights[~left].any():
            return math.nan
        ours, theirs = weights[left], weights[~left]
        return float(np.average(values[left], weights=ours) - np.average(values[~left], weights=theirs))

    low, high = resampled(raters, sets, seed, of)
    return of(np.ones(len(values))), (float(low), float(high))


def effective(values: np.ndarray, raters: np.ndarray, sets: np.ndarray) -> float:
    """How many independent answers these (0 to 1) are worth: their number over the design effect (Kish 1965).

    The variance of their mean is that of answers clustered by rater and by set (Cameron, Gelbach and Miller 2011,
    "Robust inference with multiway clustering"). Where all answers are alike it cannot be seen: then the sets count.
    """
    count, share = len(values), float(values.mean())
    single = share * (1 - share) / max(1, count - 1)
    if single < 1e-12:
        return float(len(np.unique(sets)))
    found = [variance for codes in (raters, sets) if (variance := _clustered(values, codes)) is not None]
    both = sum(found) - single * (len(found) - 1)
    return count / max(1.0, both / single) if found else float(count)


def _clustered(values: np.ndarray, codes: np.ndarray) -> float | None:
    """The variance of a mean over clusters; ``None`` of a single one."""
    clusters = len(np.unique(codes))
    if clusters < 2:
        return None
    sums = np.bincount(codes, weights=values - values.mean())
    return clusters / (clusters - 1) * float((sums**2).sum()) / len(values) ** 2


def wilson(share: float, count: float) -> Interval:
    """Wilson's interval of a share of ``count`` answers, which need not be whole."""
    centre = (share + _Z**2 / (2 * count)) / (1 + _Z**2 / count)
    half = _Z / (1 + _Z**2 / count) * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def exact(share: float, count: float) -> Interval:
    """Clopper and Pearson's exact interval at an effective number of answers (Korn and Graubard 1998)."""
    right = share * count
    tail = (1 - LEVEL) / 2
    low = 0.0 if right <= 0 else float(stats.beta.ppf(tail, right, count - right + 1))
    high = 1.0 if right >= count else float(stats.beta.ppf(1 - tail, right + 1, count - right))
    return low, high


def sign_flip(values: np.ndarray, sets: np.ndarray) -> float:
    """The two-sided p of a mean of one half, exactly: which of a set's two items is which might as well be the other.

    All answers about a set turn together, for several raters may like the same item for the same reason. With one
    answer a set it is the binomial test.

    Args:
        values: 0, 1, or one half for neither.
        sets: of each.
    """
    balance = np.bincount(sets, weights=2 * values - 1).round().astype(int)
    total = int(np.abs(balance).sum())
    odds = np.zeros(2 * total + 1)
    odds[total] = 1.0
    for step in np.abs(balance[balance != 0]).tolist():
        odds = (np.roll(odds, step) + np.roll(odds, -step)) / 2
    distance = np.abs(np.arange(-total, total + 1))
    return float(min(1.0, odds[distance >= abs(int(balance.sum()))].sum()))


@cache
def detectable(count: int) -> float | None:
    """The least accuracy above one half that so many answers would tell from it four times in five; ``None``: none.

    By the two-sided binomial test at 5 %.
    """
    needed = next((right for right in range(count + 1) if 2 * stats.binom.sf(right - 1, count, 0.5) <= 1 - LEVEL), None)
    if needed is None:
        return None
    # P(X >= k) of a binomial is the beta distribution of its share: the share with that probability, directly.
    return float(stats.beta.ppf(POWER, needed, count - needed + 1))


def strengths(
    lefts: Sequence[str], rights: Sequence[str], values: np.ndarray, systems: Sequence[str], weights: np.ndarray
) -> np.ndarray:
    """Bradley and Terry's log-strengths ``[systems]`` with mean nought (1952), by evalica.

    One drawn comparison of every pair is added to what raters said: without it a system that won every time would
    have no finite strength. Of two systems the difference is then ``log((wins + 1/2) / (losses + 1/2))``.

    Args:
        lefts: one of the two systems of each comparison.
        rights: the other one.
        values: 1 where the left one won, 0 where the right one did, one half for neither.
        systems: all of them, in the order of the answer.
        weights: of the comparisons.
    """
    pairs = list(combinations(systems, 2))
    outcome = {1.0: evalica.Winner.X, 0.0: evalica.Winner.Y, 0.5: evalica.Winner.Draw}
    found = evalica.bradley_terry(
        [*lefts, *(left for left, _ in pairs)],
        [*rights, *(right for _, right in pairs)],
        [*(outcome[float(value)] for value in values), *(evalica.Winner.Draw for _ in pairs)],
        weights=[*weights.tolist(), *(_DRAWN for _ in pairs)],
        tolerance=1e-10,
        limit=100_000,
    )
    logs = np.log(found.scores.reindex(list(systems)).to_numpy(dtype=np.float64))
    return logs - logs.mean()


def beats(logs: np.ndarray) -> np.ndarray:
    """For each log-strength the mean chance to be preferred to one of the others."""
    chances = 1 / (1 + np.exp(logs[None] - logs[:, None]))
    return (chances.sum(1) - 0.5) / (len(logs) - 1)


def agreement(answers: Mapping[tuple[int, int], float], task: str, seed: int) -> tuple[float, Interval | None] | None:
    """Krippendorff's alpha (2011, "Computing Krippendorff's alpha-reliability"), by evalica, over resampled items.

    Args:
        answers: (rater, item) to a number; of choices, one a choice.
        task: ratings are ordinal, choices nominal.
        seed: of the resamples.

    Returns:
        ``None`` where no item has two answers, or where all answers are alike: then agreement has no meaning.
    """
    table = pd.Series(answers, dtype=float).unstack()
    shared = table.loc[:, table.notna().sum() >= 2]
    if shared.shape[1] < 1 or shared.stack().nunique() < 2:
        return None
    value = alpha(shared, _LEVELS[task])
    items = shared.shape[1]
    if items < 2:
        return value, None
    seeds = seeds_of(seed, range(RESAMPLES))
    drawn = integers(seeds, "agreement", items, (items,)).numpy()
    found = [alpha(shared.iloc[:, columns], _LEVELS[task]) for columns in drawn]
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value, (float(low), float(high))


def alpha(table: pd.DataFrame, level: Level) -> float:
    """Alpha of raters' numbers ``[raters, items]``, NaN where there is none; level: nominal, ordinal or interval."""
    return float(evalica.alpha(table, distance=level).alpha)
