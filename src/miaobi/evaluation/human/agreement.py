"""Whether raters say the same of the same items: the plain share of pairs that do, and agreement beyond chance.

Answers are a table ``[raters, items]`` of numbers, NaN where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import evalica
import numpy as np
import pandas as pd

from miaobi.evaluation.metrics._intervals import LEVEL, RESAMPLES, Interval
from miaobi.sampling.noise import integers, seeds_of

Level = Literal["nominal", "ordinal", "interval"]
LEVELS: dict[str, Level] = {"likert": "ordinal", "pairs": "nominal", "real": "nominal"}


def table_of(answers: Mapping[tuple[int, int], float]) -> np.ndarray | None:
    """Answers, (rater, item) to a number, to the items that have two or more; ``None`` where there is no such item."""
    table = pd.Series(answers, dtype=float).unstack().to_numpy()
    shared = table[:, (~np.isnan(table)).sum(0) >= 2]
    return shared if shared.shape[1] else None


def over_items(table: np.ndarray, seed: int, figure: Callable[[np.ndarray], float]) -> tuple[float, Interval | None]:
    """A figure of a table, and its percentiles in 1,000 resamples of items; none of a single item."""
    items = table.shape[1]
    if items < 2:
        return figure(table), None
    drawn = integers(seeds_of(seed, range(RESAMPLES)), "agreement", items, (items,)).numpy()
    found = [figure(table[:, columns]) for columns in drawn]
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return figure(table), (float(low), float(high))


def krippendorff(table: np.ndarray, task: str) -> float:
    """Krippendorff's alpha (2011, "Computing Krippendorff's alpha-reliability"); NaN of ratings that are all alike.

    Ratings are ordinal. Choices are nominal: 0 and 1 for the two sides of an item, 2 for neither. Which side is called
    0 says nothing, so every item counts once under either naming, and by chance one half agree. Called by the system
    that made it, chance would be as large as agreement where one system wins nearly always, and alpha nought.
    """
    if LEVELS[task] == "nominal":
        table = np.concatenate([table, np.where(table > 1, table, 1 - table)], axis=1)
    return alpha(table, LEVELS[task]) if len(np.unique(table[~np.isnan(table)])) > 1 else math.nan


def alpha(table: np.ndarray, level: Level) -> float:
    """Alpha of the numbers as they are, by evalica."""
    return float(evalica.alpha(pd.DataFrame(table), distance=level).alpha)


def alike(table: np.ndarray) -> float:
    """The share of pairs of answers to one item that are the same, over all items."""
    counts = np.stack([(table == value).sum(0) for value in np.unique(table[~np.isnan(table)])])
    totals = counts.sum(0)
    return float((counts * (counts - 1)).sum() / (totals * (totals - 1)).sum())
