"""Frechet distance between generated and held-out items, on named features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from miaobi.errors import DataError
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import jackknife
from miaobi.evaluation.records import Direction, Score

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


class FrechetDistance(Metric):
    """Squared Frechet distance between Gaussians fitted to the features of both sides.

    Pitfalls. Biased upwards, more so with fewer items and more dimensions: read it against its floor at the same count,
    and never beside a value from another count. It sees means and covariances only. Not "FID": the features are not
    Inception's.
    """

    figures: ClassVar[dict[str, Direction]] = {"frechet_distance": Direction.LOWER}
    paper: ClassVar[str] = 'Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule"'
    needs_features: ClassVar[bool] = True

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: fewer than two samples.
        """
        real, generated = context.features("real"), context.features("generated")
        value = frechet(real, generated)
        interval, floor = None, None
        if not context.brief:
            interval = jackknife(value, context.count, context.seed, lambda rows: frechet(real[rows], generated[rows]))
            floor = frechet(real, context.features("training"))
        protocol = self.stamp(
            "frechet_distance",
            context.feature_stamp(),
            interval_method="95 %, jackknife leaving out one of ten disjoint blocks of both sides; the bias stays in",
            floor_method="training against held-out items, evenly spaced",
            floor_samples=len(context.training_rows),
        )
        return {"frechet_distance": Score(value, interval, floor, protocol)}


def frechet(left: np.ndarray, right: np.ndarray) -> float:
    """``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` of two sets of vectors ``[n, D]`` and ``[m, D]``.

    The trace of the root is the sum of the singular values of ``R1 R2^T`` where ``C = R^T R``: exact for singular
    covariances (fewer items than dimensions) too, with no square root of a matrix and nothing added to its diagonal.

    Raises:
        DataError: a set has fewer than two vectors.
    """
    if min(len(left), len(right)) < 2:
        raise DataError("a Frechet distance needs at least two items a side", given=f"{len(left)} and {len(right)}")
    (mean1, root1), (mean2, root2) = _moments(left), _moments(right)
    between = float(((mean1 - mean2) ** 2).sum())
    traces = float((root1**2).sum() + (root2**2).sum())
    return between + traces - 2 * float(np.linalg.svd(root1 @ root2.T, compute_uv=False).sum())


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean, and an upper triangular ``R`` with ``R^T R`` the covariance."""
    wide = features.astype(np.float64)
    mean = wide.mean(0)
    root: np.ndarray = np.linalg.qr((wide - mean) / np.sqrt(len(wide) - 1), mode="r")  # type: ignore[assignment]
    return mean, root
