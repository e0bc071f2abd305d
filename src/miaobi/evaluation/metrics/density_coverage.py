"""Density and coverage of generated items among held-out ones, on named features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.errors import DataError
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean, share
from miaobi.evaluation.metrics._neighbours import distances, kth_nearest
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


class DensityCoverage(Metric):
    """Density: how many real neighbourhoods a generated item lies in, over k. Coverage: the share of them with some.

    A real item's neighbourhood reaches to its k-th nearest other real item, so that one outlier among the generated
    items widens nothing, as it does in `precision_recall`. Of two samples of one distribution density is 1 on average,
    and coverage what the protocol calls ``expected``, a little under 1: for many items 1 - 2^-k.

    Pitfalls. Density has no upper limit: a model that only makes the most typical items surpasses real data, so it is
    read against its floor and is better neither higher nor lower. Coverage rises with the number of samples. Neither
    sees copies of training items.
    """

    class Config(Settings):
        """The metric's options."""

        neighbours: int = Value(5, ge=1, le=100, description="k, 5 in the paper")

    figures: ClassVar[dict[str, Direction]] = {"coverage": Direction.HIGHER, "density": Direction.NEITHER}
    paper: ClassVar[str] = 'Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics for Generative Models"'
    needs_features: ClassVar[bool] = True

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: no more samples than neighbours.
        """
        k = self.config.neighbours
        real, generated = context.features("real"), context.features("generated")
        found = among(generated, real, k)
        floor = None if context.brief else among(context.features("training"), real, k)
        covered = int(found.covered.sum())
        whole = expected(len(real), len(generated), k)
        return {
            "coverage": Score(
                covered / len(real),
                share(covered, len(real)),
                None if floor is None else float(floor.covered.mean()),
                self._stamped(context, "coverage", "95 %, Wilson, given the generated items", {"expected": whole}),
            ),
            "density": Score(
                float(found.density.mean()),
                of_mean(found.density.tolist()),
                None if floor is None else float(floor.density.mean()),
                self._stamped(context, "density", "95 %, Student's t over generated items, given the real ones", {}),
            ),
        }

    def _stamped(self, context: Context, figure: str, how: str, detail: dict[str, Any]) -> Any:
        return self.stamp(
            figure,
            context.feature_stamp(),
            unit="share of held-out items" if figure == "coverage" else "neighbourhoods of held-out items, over k",
            interval_method=how,
            floor_method="training items in place of generated ones: what real data reaches",
            floor_samples=len(context.training_rows),
            detail={"neighbours": self.config.neighbours, **detail},
        )


@dataclass(frozen=True, slots=True)
class Among:
    """``density [m]``: of each query, neighbourhoods that it lies in over k; ``covered [n]``: those with any query."""

    density: np.ndarray
    covered: np.ndarray


def among(queries: np.ndarray, points: np.ndarray, k: int) -> Among:
    """Queries ``[m, D]`` in the neighbourhoods of points ``[n, D]``.

    Raises:
        DataError: no more points than ``k``.
    """
    if len(points) <= k:
        raise DataError(f"density and coverage need more than {k} items a side", given=len(points))
    radii = kth_nearest(points, k)
    density, covered = [], np.zeros(len(points), dtype=bool)
    for _, block in distances(queries, points):
        inside = block.numpy() <= radii
        density.append(inside.sum(1) / k)
        covered |= inside.any(0)
    return Among(np.concatenate(density), covered)


def expected(real: int, generated: int, k: int) -> float:
    """Mean coverage of two samples of one continuous distribution: the k nearest of a real item
    among all others are real, each with a chance that does not depend on the distribution.
    """
    return 1 - math.prod((real - 1 - i) / (real + generated - 1 - i) for i in range(k))
