"""How often the better one of a pair is ranked above the worse one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor

from miaobi.errors import Diverged, InvalidRecipe
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.records import Direction, Score
from miaobi.families import require
from miaobi.types import Batch

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


@runtime_checkable
class Ranks(Protocol):
    """Tells the better one of a pair."""

    def margins(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """How far the better side is above the other, ``[B]``, and whether there is another, ``[B]`` bool."""
        ...


class Ranking(Metric):
    """The share of held-out pairs in the right order; a tie is half right. Chance, the floor, is a half.

    Pitfall: for lists of graded items this is no NDCG: every pair counts alike, wherever in a list it stands.
    """

    figures: ClassVar[dict[str, Direction]] = {"pairs_in_order": Direction.HIGHER}
    paper: ClassVar[str] = 'Burges et al. 2005, "Learning to rank using gradient descent"'
    ability: ClassVar[type] = Ranks

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            InvalidRecipe: no held-out item has a worse side.
            Diverged: a score is not finite.
        """
        points = _points(context)
        if not points:
            raise InvalidRecipe("no held-out pair has two sides", cure="check the column that model.options names")
        protocol = self.stamp(
            "pairs_in_order",
            context.stamp(),
            samples=len(points),
            interval_method="95 %, Student's t over pairs",
            floor_method="chance",
        )
        return {"pairs_in_order": Score(sum(points) / len(points), of_mean(points), 0.5, protocol)}


def _points(context: Context) -> list[float]:
    """1, a half or 0 for each held-out pair (in a brief context evenly spaced ones)."""
    family = require(context.model.family, Ranks, "the metric ranking")
    rows = context.rows if context.brief else range(len(context.held))
    points: list[float] = []
    for chosen in chunks(rows, context.batch_rows):
        margins, here = family.margins(context.held.batch(chosen, augment=None).to(context.model.family.device))
        margins = margins[here]
        if not torch.isfinite(margins).all():
            raise Diverged("a score is not finite", cure="lower train.learning_rate and train again")
        points += ((margins.sign() + 1) / 2).tolist()
    return points
