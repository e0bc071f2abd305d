"""Kernel distance between generated and held-out items, on named features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from miaobi.errors import DataError
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import blocks, from_blocks
from miaobi.evaluation.records import Direction, Score

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_ROWS = 1024


class KernelDistance(Metric):
    """Squared maximum mean discrepancy with the kernel ``(x.y / D + 1) ** 3``, unbiased, so it may fall below nought.

    Pitfalls. Not multiplied by anything: tables often show it times 1,000. Its scale is that of the features (their
    fourth to sixth powers): two extractors, or two input sizes of one, do not compare.
    """

    figures: ClassVar[dict[str, Direction]] = {"kernel_distance": Direction.LOWER}
    paper: ClassVar[str] = 'Binkowski et al. 2018, "Demystifying MMD GANs"'
    needs_features: ClassVar[bool] = True

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: fewer than two samples.
        """
        real, generated = context.features("real"), context.features("generated")
        value = polynomial_mmd(real, generated)
        parts = [polynomial_mmd(real[rows], generated[rows]) for rows in blocks(context.count, context.seed)]
        floor = None if context.brief else polynomial_mmd(real, context.features("training"))
        protocol = self.stamp(
            "kernel_distance",
            context.feature_stamp(),
            interval_method="95 %, Student's t over ten disjoint blocks of both sides",
            floor_method="training against held-out items, evenly spaced",
            floor_samples=len(context.training_rows),
        )
        return {"kernel_distance": Score(value, from_blocks(value, parts), floor, protocol)}


def polynomial_mmd(left: np.ndarray, right: np.ndarray) -> float:
    """Unbiased squared MMD of two sets of vectors ``[n, D]`` and ``[m, D]`` under the cubic polynomial kernel.

    Raises:
        DataError: a set has fewer than two vectors.
    """
    n, m = len(left), len(right)
    if min(n, m) < 2:
        raise DataError("a kernel distance needs at least two items a side", given=f"{n} and {m}")
    within = _sum(left, left, itself=True) / (n * (n - 1)) + _sum(right, right, itself=True) / (m * (m - 1))
    return within - 2 * _sum(left, right) / (n * m)


def _sum(left: np.ndarray, right: np.ndarray, *, itself: bool = False) -> float:
    """Sum of the kernel over pairs, without each item's pair with itself; a block of rows at a time."""
    a, b = torch.from_numpy(left).double(), torch.from_numpy(right).double()
    dimensions = a.shape[1]
    total = sum(float((rows @ b.T / dimensions + 1).pow_(3).sum()) for rows in a.split(_ROWS))
    return total - float(((a * a).sum(1) / dimensions + 1).pow_(3).sum()) if itself else total
