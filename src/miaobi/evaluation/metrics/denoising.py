"""How well held-out items are told from the noise that is added to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Diverged
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import MUST_MATCH, Metric
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.metrics._itemised import Ratio
from miaobi.evaluation.records import Direction, Score
from miaobi.families import require
from miaobi.sampling.noise import derive, seeds_of
from miaobi.types import Batch, Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Shares of noise on the straight path at which items are judged; no training time is more often met than another."""


@runtime_checkable
class Denoises(Protocol):
    """Estimates data from data with noise."""

    def denoising_error(self, batch: Batch, t: float, seeds: Tensor) -> Tensor:
        """``[B]``: mean squared error of the velocity at a time in (0, 1], with conditions as they are given."""
        ...


class Denoising(Metric):
    """Mean squared error of the straight path's velocity, over fixed times and noise that the items' ids fix.

    Pitfall: it is of one objective, not of samples, and small differences in it need not be seen in them.

    In the same terms whatever a network predicts and however it was weighted, so flow, EDM and DDPM compare on the same
    data; between data sets it does not compare, nor between latents and what they stand for, nor does it see what
    guidance or a solver do to samples.
    """

    figures: ClassVar[dict[str, Direction]] = {"denoising": Direction.LOWER}
    paper: ClassVar[str] = 'Lipman et al. 2023, "Flow matching for generative modeling"'
    ability: ClassVar[type] = Denoises
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    must_match: ClassVar[frozenset[str]] = MUST_MATCH | {"representation"}

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: an error is not finite.
        """
        errors = _errors(context)
        value = sum(errors) / len(errors)
        protocol = self.stamp(
            "denoising",
            context.stamp(),
            samples=len(errors),
            seed=context.seed,
            interval_method="95 %, Student's t over items",
            floor_method="none: how well noise can be told from the data is not known",
            detail={"times": list(TIMES)},
        )
        return {"denoising": Score(value, of_mean(errors), None, protocol)}

    def ratio(self, context: Context) -> Ratio:
        """
        Raises:
            Diverged: an error is not finite.
        """
        errors = np.array(_errors(context))
        return Ratio("denoising", errors, np.ones_like(errors))


def _errors(context: Context) -> list[float]:
    """Of each item, the mean over the times."""
    family = require(context.model.family, Denoises, "the metric denoising")
    device = context.model.family.device
    errors: list[float] = []
    for chosen in chunks(context.rows, context.batch_rows):
        batch = context.held.batch(chosen, augment=None).to(device)
        seeds = seeds_of(context.seed, batch.ids.cpu()).to(device)
        found = [family.denoising_error(batch, t, derive(seeds, index)) for index, t in enumerate(TIMES)]
        errors += torch.stack(found).double().mean(0).tolist()
    if not torch.tensor(errors).isfinite().all():
        raise Diverged("a held-out error is not finite", cure="lower train.learning_rate and train again")
    return errors
