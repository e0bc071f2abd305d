"""MAUVE of generated items beside held-out ones, on named features."""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.errors import DataError, MissingExtra
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import Interval, around
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_FEWEST = 20
_WEIGHTS = np.linspace(1e-6, 1 - 1e-6, 25)
"""The library's own mixture weights."""
_REMARK = b"WARNING clustering"


class Mauve(Metric):
    """The area under the divergence curve of both sides' features, quantised together by k-means: 0 to 1.

    The curve has the Kullback-Leibler divergences of each side from every mixture of both: one end says what the
    samples have that real items have not, the other what they lack. By mauve-text, which is given the named features:
    the published figures are on GPT-2's, and do not compare. The value is a mean over clusterings, for k-means starts
    at random.

    Pitfalls. It depends on the count, on the number of buckets and most of all on the features: with
    ``character_ngrams`` it is about wording. Near 1 it hardly tells good from better. A model that copies its training
    items reaches the floor. It needs the extra ``mauve``, whose packages are not installed by default (mauve-text is
    under the GPL).
    """

    class Config(Settings):
        """The metric's options."""

        buckets: int | None = Value(None, ge=2, le=10_000, description="clusters; default: a tenth of the samples")
        scaling: float = Value(5.0, gt=0, le=100, description="the paper's c, that divergences are multiplied by")
        clusterings: int = Value(5, ge=1, le=100, description="k-means runs of different seeds, whose mean is taken")

    figures: ClassVar[dict[str, Direction]] = {"mauve": Direction.HIGHER}
    paper: ClassVar[str] = (
        'Pillutla et al. 2021, "MAUVE: Measuring the Gap Between Neural Text and Human Text using Divergence Frontiers"'
    )
    needs_features: ClassVar[bool] = True
    libraries: ClassVar[tuple[str, ...]] = ("mauve-text", "faiss-cpu", "scikit-learn")

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the family does not sample.
            MissingExtra: the packages of the extra ``mauve`` are absent.
        """
        super().check(family, modality)
        _require_packages()

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: fewer than 20 samples, or fewer than buckets.
            MissingExtra: the packages of the extra ``mauve`` are absent.
        """
        _require_packages()
        buckets = self.config.buckets or max(2, round(context.count / 10))
        if context.count < max(_FEWEST, buckets):
            raise DataError(
                "MAUVE needs more samples",
                given=context.count,
                allowed=f"at least {_FEWEST}, and no fewer than its {buckets} buckets",
                cure="raise evaluate.samples, or hold out more items",
            )
        real = context.features("real")
        found = self._clustered(real, context.features("generated"), buckets)
        floor = None if context.brief else _mean(self._clustered(real, context.features("training"), buckets))
        protocol = self.stamp(
            "mauve",
            context.feature_stamp(),
            unit="area under the divergence curve, 0 to 1",
            interval_method="95 %, jackknife leaving out an item given the clusters, and spread over clusterings",
            floor_method="training items in place of generated ones: what real data reaches",
            floor_samples=len(context.training_rows),
            detail={"buckets": buckets, "clustering_seeds": list(range(self.config.clusterings))},
        )
        interval = None if context.brief else self._interval(found, context.count)
        return {"mauve": Score(_mean(found), interval, floor, protocol)}

    def _clustered(self, real: np.ndarray, other: np.ndarray, buckets: int) -> list[Any]:
        """The library's answer for each clustering."""
        from mauve import compute_mauve

        with _without_remarks():
            return [
                compute_mauve(
                    p_features=other,
                    q_features=real,
                    num_buckets=buckets,
                    mauve_scaling_factor=self.config.scaling,
                    seed=seed,
                )
                for seed in range(self.config.clusterings)
            ]

    def _interval(self, found: Sequence[Any], count: int) -> Interval | None:
        if len(found) < 2:
            return None
        items = np.mean([variance(one.p_hist, one.q_hist, count, self.config.scaling) for one in found])
        spread = float(np.var([one.mauve for one in found], ddof=1)) / len(found)
        low, high = around(_mean(found), math.sqrt(float(items) + spread), len(found) - 1)
        return max(low, 0.0), min(high, 1.0)


def area(p: np.ndarray, q: np.ndarray, scaling: float) -> float:
    """The library's figure of two histograms ``[buckets]`` that each add up to 1."""
    from mauve.compute_mauve import get_divergence_curve_for_multinomials
    from sklearn.metrics import auc

    x, y = get_divergence_curve_for_multinomials(p, q, _WEIGHTS, scaling).T
    by_x, by_y = np.argsort(x), np.argsort(y)
    return float(auc(x[by_x], y[by_x]) + auc(y[by_y], x[by_y])) / 2


def variance(p: np.ndarray, q: np.ndarray, count: int, scaling: float) -> float:
    """Of `area` over items, by leaving out one at a time of either side; items of one bucket count alike.

    Args:
        p: histogram of one side ``[buckets]``.
        q: of the other.
        count: items a side.
        scaling: as `area`'s.
    """
    return _left_out(p, count, lambda less: area(less, q, scaling)) + _left_out(
        q, count, lambda less: area(p, less, scaling)
    )


def _left_out(histogram: np.ndarray, count: int, figure: Callable[[np.ndarray], float]) -> float:
    counts = np.rint(histogram * count)
    filled = np.flatnonzero(counts)
    values = np.array([figure((counts - (np.arange(len(counts)) == bucket)) / (count - 1)) for bucket in filled])
    weights = counts[filled]
    mean = float((weights * values).sum()) / count
    return (count - 1) / count * float((weights * (values - mean) ** 2).sum())


def _mean(found: Sequence[Any]) -> float:
    return float(np.mean([one.mauve for one in found]))


def _require_packages() -> None:
    if find_spec("mauve") is None or find_spec("faiss") is None:
        raise MissingExtra("the metric mauve", "mauve")


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Hold back what faiss writes to standard error by itself about ten items a cluster, the paper's own choice."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        stderr = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            for line in kept:
                if not line.startswith(_REMARK):
                    os.write(2, line)
