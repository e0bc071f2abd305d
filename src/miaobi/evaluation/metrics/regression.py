"""How far estimates of numbers are off."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from miaobi.errors import Diverged, InvalidRecipe, Unsupported
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import bootstrap, of_mean
from miaobi.evaluation.records import Direction, Score
from miaobi.families import Predicting, require
from miaobi.plugins import name_of
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


class Regression(Metric):
    """Mean absolute error in the numbers' own units, and the share of their variance that is explained (R squared).

    Every held-out item is estimated (in a brief context evenly spaced ones). The floor is what the median (or for R
    squared the mean) of the training items scores when it is always said; R squared is negative below that of the
    held-out mean.

    Pitfall: R squared depends on how much the held-out numbers vary, so it does not compare between data sets.
    """

    figures: ClassVar[dict[str, Direction]] = {"absolute_error": Direction.LOWER, "r_squared": Direction.HIGHER}
    paper: ClassVar[str] = 'Draper and Smith 1998, "Applied regression analysis"'
    ability: ClassVar[type] = Predicting
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the family does not estimate, or the target is no number.
        """
        super().check(family, modality)
        if modality.shown.name != "number":
            raise Unsupported(f"the metric {name_of(cls)} is of numbers", given=modality.shown.name)

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: an estimate is not finite.
            InvalidRecipe: the held-out numbers are all equal.
        """
        wanted, said = _estimate(context)
        if wanted.std() == 0:
            raise InvalidRecipe("the held-out numbers are all equal", cure="hold out more items")
        train = context.prepared.train
        known = np.array(train.items(context.training_rows if context.brief else range(len(train))))
        median, mean = (np.full_like(wanted, middle) for middle in (np.median(known), known.mean()))
        errors = np.abs(said - wanted)
        spread = (
            None if context.brief else bootstrap(len(wanted), context.seed, lambda r: r_squared(wanted[r], said[r]))
        )
        stamp = {"samples": len(wanted)}
        return {
            "absolute_error": Score(
                float(errors.mean()),
                of_mean(errors.tolist()),
                float(np.abs(median - wanted).mean()),
                self.stamp(
                    "absolute_error",
                    context.stamp(),
                    **stamp,
                    interval_method="95 %, Student's t over items",
                    floor_method="the median of the training items, always",
                ),
            ),
            "r_squared": Score(
                r_squared(wanted, said),
                spread,
                r_squared(wanted, mean),
                self.stamp(
                    "r_squared",
                    context.stamp(),
                    **stamp,
                    interval_method="95 %, percentiles of 1,000 resamples of items",
                    floor_method="the mean of the training items, always",
                ),
            ),
        }


def r_squared(wanted: np.ndarray, said: np.ndarray) -> float:
    """One less the residual sum of squares over the total one; 0 where all of ``wanted`` are equal."""
    total = float(((wanted - wanted.mean()) ** 2).sum())
    return 1 - float(((wanted - said) ** 2).sum()) / total if total else 0.0


def _estimate(context: Context) -> tuple[np.ndarray, np.ndarray]:
    """The numbers and their estimates, float64 ``[N]`` each."""
    family = require(context.model.family, Predicting, "the metric regression")
    modality, device = context.model.modality, context.model.family.device
    wanted: list[float] = []
    said: list[float] = []
    for rows in chunks(context.rows if context.brief else range(len(context.held)), context.batch_rows):
        batch = context.held.batch(rows, augment=None)
        found = family.predict({name: field.to(device) for name, field in batch.conditions.items()})
        wanted += context.held.items(rows)
        said += [modality.decode(array) for array in modality.split_batch(found.cpu(), None)]
    if not np.isfinite(said).all():
        raise Diverged("an estimate is not finite", cure="lower train.learning_rate and train again")
    return np.array(wanted), np.array(said)
