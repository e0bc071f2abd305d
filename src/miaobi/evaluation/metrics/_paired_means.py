"""Figures that are means over samples, each scored beside the held-out answer to the same conditions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from miaobi.evaluation.metrics._intervals import bootstrap
from miaobi.evaluation.metrics._pairs import neighbours
from miaobi.evaluation.records import Protocol, Score

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

Scorer = Callable[[str, str], Sequence[float]]
"""The figures of one answer, given the reference and the answer."""


def table(scorer: Scorer, references: Sequence[str], answers: Sequence[str]) -> np.ndarray:
    """``float64 [n, figures]``: what the scorer gives each pair."""
    pairs = zip(references, answers, strict=True)
    return np.array([scorer(reference, answer) for reference, answer in pairs], dtype=np.float64)


def floors(context: Context, scorer: Scorer, references: list[str], figures: int) -> list[float | None]:
    """What real answers to something else score in each figure; ``None`` in a brief look and of one item."""
    others = None if context.brief else neighbours(references)
    if others is None:
        return [None] * figures
    return [float(value) for value in table(scorer, references, others).mean(axis=0)]


def mean(context: Context, values: np.ndarray, floor: float | None, protocol: Protocol) -> Score:
    """The mean of ``values [n]`` with a bootstrap interval; ``protocol`` is completed."""
    interval = None if context.brief else bootstrap(len(values), context.seed, lambda rows: float(values[rows].mean()))
    own = Protocol(interval_method="95 %, percentiles of 1,000 resamples of samples")
    if floor is not None:
        own |= Protocol(floor_method="each held-out answer against another item's", floor_samples=context.count)
    return Score(float(values.mean()), interval, floor, protocol | own)
