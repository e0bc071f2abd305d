"""How near held-out items come back from their own latents or codes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from miaobi.errors import Diverged
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.records import Direction, Score
from miaobi.families import Latent, require
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_RANGE = 2.0
_LEAST = 1e-10
"""Errors below this give the same 106 dB: float32 does not tell them from none."""


class Reconstruction(Metric):
    """Mean squared error a dimension of data in [-1, 1], and the signal-to-noise ratio that it amounts to.

    The ratio (PSNR, in decibels) is of the error averaged over items, so one item that comes back whole does not make
    it infinite; tables that average each item's own ratio show a little more. Every held-out item counts; in a brief
    context evenly spaced ones. Pitfalls: blur costs little, a shift by one pixel much, and it says nothing about what a
    model makes of its own.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "psnr": Direction.HIGHER,
        "mean_squared_error": Direction.LOWER,
    }
    paper: ClassVar[str] = 'peak signal-to-noise ratio; Huynh-Thu and Ghanbari 2008, "Scope of validity of PSNR"'
    ability: ClassVar[type[Any]] = Latent
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: a reconstruction is not finite.
        """
        errors = _errors(context, context.rows if context.brief else range(len(context.held)))
        value, interval = float(errors.mean()), of_mean(errors.tolist())
        worse = None if interval is None else (decibels(interval[1]), decibels(interval[0]))
        return {
            "psnr": self._score(context, "psnr", decibels(value), worse, len(errors)),
            "mean_squared_error": self._score(context, "mean_squared_error", value, interval, len(errors)),
        }

    def _score(
        self, context: Context, figure: str, value: float, interval: tuple[float, float] | None, count: int
    ) -> Score:
        protocol = self.stamp(
            figure,
            context.stamp(),
            samples=count,
            seed=context.seed,
            controls=context.controls.to_json(),
            unit="decibel" if figure == "psnr" else "squared difference a dimension, of values in [-1, 1]",
            interval_method="95 %, Student's t over items of the squared error",
            floor_method="none: nothing is lost at best",
        )
        return Score(value, interval, None, protocol)


def decibels(error: float) -> float:
    """PSNR of a mean squared error of data in [-1, 1]."""
    return 10 * math.log10(_RANGE**2 / max(error, _LEAST))


def _errors(context: Context, rows: Sequence[int]) -> np.ndarray:
    """float64 ``[n]``: mean squared error of each item, quantised data's reconstructions brought into [-1, 1]."""
    family = require(context.model.family, Latent, "the metric reconstruction")
    device = context.model.family.device
    found = []
    for chosen in chunks(rows, context.batch_rows):
        batch = context.held.batch(chosen, augment=None).to(device)
        seeds = seeds_of(context.seed, batch.ids)
        back = family.decode(family.encode(batch), batch.conditions, controls=context.controls, seeds=seeds)
        if not torch.isfinite(back.values).all():
            raise Diverged("a reconstruction is not finite", cure="lower train.learning_rate and train again")
        made = back.values.float()
        error = (made.clamp(-1, 1) if context.model.family.target.levels else made) - batch.target.values
        found.append(error.square().flatten(1).mean(1).double().cpu())
    joined: np.ndarray = torch.cat(found).numpy()
    return joined
