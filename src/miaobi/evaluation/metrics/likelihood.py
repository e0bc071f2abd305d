"""Likelihood of held-out items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Diverged, Unsupported
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_ratio
from miaobi.evaluation.metrics._itemised import Ratio
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.families import Likelihood as CanLikelihood
from miaobi.families import require
from miaobi.plugins import name_of
from miaobi.sampling.noise import seeds_of
from miaobi.types import Bound

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_MOST_NATS = 700.0
"""Perplexities stay finite."""
_FIGURES = {"byte": "bits_per_byte", "dimension": "bits_per_dimension", "event": "bits_per_event"}


class Likelihood(Metric):
    """Bits a unit of the data (comparable between tokenizers), and nats a predicted token and their exponential (not).

    Total nats over total units, so long items weigh more. Every held-out item is scored (of a stream: every window,
    each token once); in a brief context evenly spaced ones. ``perplexity`` is ``exp(nats_per_token)``.

    Pitfalls. A token is whatever the tokenizer makes it, so nats a token and perplexity compare within one only. A good
    likelihood does not make good samples, nor the other way round. An upper bound may lie far above the model's own.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "bits_per_byte": Direction.LOWER,
        "bits_per_dimension": Direction.LOWER,
        "bits_per_event": Direction.LOWER,
        "nats_per_token": Direction.LOWER,
        "perplexity": Direction.LOWER,
    }
    paper: ClassVar[str] = 'Theis et al. 2016, "A note on the evaluation of generative models"'
    ability: ClassVar[type[Any]] = CanLikelihood

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: a likelihood is not finite.
        """
        found = _measure(context)
        scores: dict[str, Score] = {}
        unit = context.model.modality.unit
        if unit in _FIGURES and found.units.sum() > 0:
            scores[_FIGURES[unit]] = self._score(context, _FIGURES[unit], found, found.nats / math.log(2), found.units)
        if found.tokens is not None and found.tokens.sum() > 0:
            scores["nats_per_token"] = self._score(context, "nats_per_token", found, found.nats, found.tokens)
            scores["perplexity"] = self._perplexity(scores["nats_per_token"])
        return scores

    def ratio(self, context: Context) -> Ratio:
        """
        Raises:
            Diverged: a likelihood is not finite.
            Unsupported: there is nothing to divide it by.
        """
        found, unit = _measure(context), context.model.modality.unit
        if unit in _FIGURES and found.units.sum() > 0:
            return Ratio(_FIGURES[unit], found.nats / math.log(2), found.units)
        if found.tokens is None:
            raise Unsupported("the likelihood of these items has neither units nor tokens to be divided by")
        return Ratio("nats_per_token", found.nats, found.tokens)

    def _perplexity(self, nats: Score) -> Score:
        interval = None if nats.interval is None else (_exponential(nats.interval[0]), _exponential(nats.interval[1]))
        protocol = nats.protocol | Protocol(figure="perplexity", unit="equally likely tokens")
        return Score(_exponential(nats.value), interval, None, protocol)

    def _score(self, context: Context, figure: str, found: _Measured, amounts: np.ndarray, counts: np.ndarray) -> Score:
        bound_to_tokenizer = figure == "nats_per_token"
        protocol = self.stamp(
            figure,
            context.stamp(),
            samples=len(amounts),
            seed=context.seed,
            unit="token" if bound_to_tokenizer else context.model.modality.unit,
            likelihood=f"{'exact' if found.exact else 'upper bound'}, of {name_of(type(context.model.family))}",
            tokenizer_bound=bound_to_tokenizer,
            interval_method="95 %, Student's t over items of the linearised ratio",
            floor_method="none: the entropy of the data is not known",
            detail={"units": float(counts.sum())},
        )
        value = float(amounts.sum() / counts.sum())
        return Score(value, of_ratio(amounts, counts), None, protocol)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Of each item, float64: nats, units, and predicted tokens where they are counted; whether all nats are exact."""

    nats: np.ndarray
    units: np.ndarray
    tokens: np.ndarray | None
    exact: bool


def _exponential(nats: float) -> float:
    return math.exp(min(nats, _MOST_NATS))


def _measure(context: Context) -> _Measured:
    rows = context.rows if context.brief else range(len(context.held))
    family = require(context.model.family, CanLikelihood, "the metric likelihood")
    device = context.model.family.device
    bounds: list[Bound] = []
    units: list[Tensor] = []
    for chosen in chunks(rows, context.batch_rows):
        batch = context.held.batch(chosen, augment=None)
        bounds.append(family.log_likelihood(batch.to(device), seeds=seeds_of(context.seed, batch.ids).to(device)))
        units.append(context.model.modality.units(context.held.items(chosen)))
    nats = _joined([bound.nats for bound in bounds])
    if not np.isfinite(nats).all():
        raise Diverged("a held-out likelihood is not finite", cure="lower train.learning_rate and train again")
    counted = [bound.predicted for bound in bounds if bound.predicted is not None]
    tokens = _joined(counted) if len(counted) == len(bounds) else None
    return _Measured(nats, _joined(units), tokens, all(bound.exact for bound in bounds))


def _joined(parts: Sequence[Tensor]) -> np.ndarray:
    return torch.cat([part.double().cpu() for part in parts]).numpy()
