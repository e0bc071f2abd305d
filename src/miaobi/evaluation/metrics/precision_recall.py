"""Precision and recall of generated items against held-out ones, on named features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.errors import DataError
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.metrics._neighbours import distances, kth_nearest
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


class PrecisionRecall(Metric):
    """Precision: the share of generated items that lie among real ones. Recall: the share of real ones among generated.

    An item lies among a set where it is no farther from some member than that member's k-th nearest neighbour is.
    The floor is real data against real data: the most that can be hoped for at this count, not one.

    ``trimmed_recall`` is recall where no generated item reaches farther than half of them do.

    Pitfalls. One outlier reaches far and takes in what is around it; trimmed recall and `density_coverage` do not have
    that. All rise with k and depend on the count. Copies of training items are precise.
    """

    class Config(Settings):
        """The metric's options."""

        neighbours: int = Value(3, ge=1, le=100, description="k, 3 in the paper")

    figures: ClassVar[dict[str, Direction]] = dict.fromkeys(("precision", "recall", "trimmed_recall"), Direction.HIGHER)
    paper: ClassVar[str] = (
        'Kynkaanniemi et al. 2019, "Improved Precision and Recall Metric for Assessing Generative Models"; the '
        'trimming, against outliers as in Naeem et al. 2020, "Reliable Fidelity and Diversity Metrics", is ours'
    )
    needs_features: ClassVar[bool] = True

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: no more samples than neighbours.
        """
        k = self.config.neighbours
        real, generated = context.features("real"), context.features("generated")
        values = _three(generated, real, k)
        floors: list[float | None] = [None] * len(values)
        if not context.brief:
            floors = [float(inside.mean()) for inside in _three(context.features("training"), real, k)]
        return {
            figure: Score(
                float(inside.mean()),
                share(int(inside.sum()), len(inside)),
                floor,
                self.stamp(
                    figure,
                    context.feature_stamp(),
                    interval_method="95 %, Wilson, given the other side's items",
                    floor_method="training items in place of generated ones: what real data reaches, a ceiling",
                    floor_samples=len(context.training_rows),
                    detail={"neighbours": k},
                ),
            )
            for figure, inside, floor in zip(self.figures, values, floors, strict=True)
        }


def _three(generated: np.ndarray, real: np.ndarray, k: int) -> list[np.ndarray]:
    return [
        covered(generated, real, k),
        covered(real, generated, k),
        covered(real, generated, k, trimmed=True),
    ]


def covered(queries: np.ndarray, points: np.ndarray, k: int, *, trimmed: bool = False) -> np.ndarray:
    """Bool ``[n]``: which queries lie within some point's distance to its ``k``-th nearest other point.

    Args:
        queries: ``[n, D]``.
        points: ``[m, D]``.
        k: of the neighbours.
        trimmed: take no distance for more than the median of them.

    Raises:
        DataError: no more points than ``k``.
    """
    if len(points) <= k:
        raise DataError(f"precision and recall need more than {k} items a side", given=len(points))
    radii = kth_nearest(points, k)
    radii = np.minimum(radii, np.median(radii)) if trimmed else radii
    return np.concatenate([(block.numpy() <= radii).any(1) for _, block in distances(queries, points)])
