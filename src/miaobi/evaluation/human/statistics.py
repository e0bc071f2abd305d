"""Estimates from answers, with intervals that know that a rater answers often and an item is answered about often.

Answers are arrays of one length: ``values``, and for each the numbers of its rater and of its set of items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations

import evalica
import numpy as np
from scipy import stats

from miaobi.evaluation.metrics._intervals import LEVEL, Interval

POWER = 0.8
_Z = float(stats.norm.ppf((1 + LEVEL) / 2))
_DRAWN = 1.0


def jackknifed(
    raters: np.ndarray, sets: np.ndarray, figure: Callable[[np.ndarray], np.ndarray | float]
) -> tuple[np.ndarray, np.ndarray | None]:
    """A figure of all answers, and its interval ``[2, ...]`` over raters and over sets of items.

    Each rater, and each set, is left out in turn; the variances of the two add up, and Student's t has one degree of
    freedom fewer than there are raters or sets, whichever are fewer (MacKinnon, Nielsen and Webb 2024, "Jackknife
    inference with two-way clustering"; what an answer has of its own is not taken off, so that the variance is never
    negative, and rather too large). Of a single rater, or a single set, only the other counts.

    Args:
        raters: numbers of the answers' raters.
        sets: of their sets.
        figure: of the answers with the weights that it is given, 0 or 1; NaN where they do not say.

    Returns:
        The interval is ``None`` of a single set by a single rater, and where a figure needs somebody's answers.
    """
    value = np.asarray(figure(np.ones(len(raters))))
    variances = []
    for codes in (raters, sets):
        count = clusters(codes)
        if count > 1:
            left = np.array([figure((codes != number).astype(float)) for number in range(count)])
            variances.append((count - 1) / count * ((left - left.mean(0)) ** 2).sum(0))
    error = np.sqrt(sum(variances))
    if not variances or not np.isfinite(error).all():
        return value, None
    half = float(stats.t.ppf((1 + LEVEL) / 2, freedom(raters, sets))) * error
    return value, np.stack([value - half, value + half])


def clusters(codes: np.ndarray) -> int:
    """How many there are, numbered from 0."""
    return int(codes.max(initial=-1)) + 1


def freedom(raters: np.ndarray, sets: np.ndarray) -> int:
    """Degrees of freedom: one fewer than raters or sets, whichever are fewer; a single one of either does not count."""
    return min((count for codes in (raters, sets) if (count := clusters(codes)) > 1), default=2) - 1


def mean(values: np.ndarray, raters: np.ndarray, sets: np.ndarray) -> tuple[float, Interval | None]:
    """The mean answer and its interval over raters and items; none of a single set by a single rater."""
    return _single(jackknifed(raters, sets, lambda weights: float(np.average(values, weights=weights))))


def difference(
    left: np.ndarray, values: np.ndarray, raters: np.ndarray, sets: np.ndarray
) -> tuple[float, Interval | None]:
    """Mean of the answers where ``left`` is true less that of the others; raters and sets are shared by both."""

    def of(weights: np.ndarray) -> float:
        if not weights[left].any() or not weights[~left].any():
            return math.nan
        ours, theirs = weights[left], weights[~left]
        return float(np.average(values[left], weights=ours) - np.average(values[~left], weights=theirs))

    return _single(jackknifed(raters, sets, of))


def _single(found: tuple[np.ndarray, np.ndarray | None]) -> tuple[float, Interval | None]:
    value, interval = found
    return float(value), None if interval is None else (float(interval[0]), float(interval[1]))


def effective(values: np.ndarray, raters: np.ndarray, sets: np.ndarray) -> float:
    """How many independent answers these (0 to 1) are worth: their number over the design effect (Kish 1965).

    The variance of their mean is that of answers clustered by rater and by set (Cameron, Gelbach and Miller 2011,
    "Robust inference with multiway clustering"), at least that of answers clustered by the one or the other alone.
    Where all answers are alike it cannot be seen: then the sets count.
    """
    count, share = len(values), float(values.mean())
    single = share * (1 - share) / max(1, count - 1)
    if single < 1e-12:
        return float(len(np.unique(sets)))
    found = [variance for codes in (raters, sets) if (variance := _clustered(values, codes)) is not None]
    both = max(sum(found) - single * (len(found) - 1), *found) if len(found) > 1 else sum(found)
    return count / max(1.0, both / single) if found else float(count)


def _clustered(values: np.ndarray, codes: np.ndarray) -> float | None:
    """The variance of a mean over clusters; ``None`` of a single one."""
    clusters = len(np.unique(codes))
    if clusters < 2:
        return None
    sums = np.bincount(codes, weights=values - values.mean())
    return clusters / (clusters - 1) * float((sums**2).sum()) / len(values) ** 2


def cautious(count: float, raters: np.ndarray, sets: np.ndarray) -> float:
    """An effective number of answers for intervals, reduced because few raters or sets do not tell it well.

    By the square of the normal quantile over Student's (Korn and Graubard 1998, "Confidence intervals for proportions
    with small expected number of positive counts estimated from survey data").
    """
    return count * (_Z / float(stats.t.ppf((1 + LEVEL) / 2, freedom(raters, sets)))) ** 2


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
