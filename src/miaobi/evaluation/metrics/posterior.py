"""What a latent says of the items that it is made from: the report of posterior collapse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Diverged
from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.evaluation.records import Direction, Score
from miaobi.families import Latent, require
from miaobi.families._posteriors import ACTIVE, Posterior
from miaobi.families._priors import log_normal
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

_NUMBERS = 1 << 22
"""Densities held at once: each draw is judged under every item's posterior."""


@runtime_checkable
class Infers(Protocol):
    """Has a normal posterior over a latent."""

    def posterior(self, batch: Batch) -> Posterior:
        """Of the batch's targets, with its conditions."""
        ...

    def divergence(self, batch: Batch, *, seeds: Tensor) -> Tensor:
        """``[B]`` nats from the prior to the posterior, exact or estimated at a draw."""
        ...


class PosteriorReport(Metric):
    """Whether a variational autoencoder uses its latent; of evenly spaced held-out items, at most ``samples``.

    ``active_units``: dimensions whose posterior mean varies over items by more than 0.01 (Burda et al. 2015).
    ``divergence``: nats an item from the prior. ``mutual_information``: nats between item and latent under the
    encoder, a draw's log-density under its own posterior less that under the mean of all posteriors; it cannot exceed
    the logarithm of the number of items, which is its limit in the protocol. Collapse is near zero in all three.
    ``token_accuracy``, of token targets: the share of places at which the item that is decoded from the posterior's
    mean, the likeliest token every time, has the right token; its floor is that of another item's reconstruction.

    Pitfalls. A latent that says much need not make good samples. The information is cut off at its limit, and one token
    too many early in an item makes all later places wrong.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "active_units": Direction.HIGHER,
        "mutual_information": Direction.HIGHER,
        "divergence": Direction.NEITHER,
        "token_accuracy": Direction.HIGHER,
    }
    paper: ClassVar[str] = (
        'Burda et al. 2015, "Importance weighted autoencoders"; Hoffman and Johnson 2016, "ELBO surgery"; '
        'Dieng et al. 2019, "Avoiding latent variable collapse with generative skip models"'
    )
    ability: ClassVar[type] = Infers

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            Diverged: a posterior is not finite.
        """
        found = _measure(context)
        informed = information(found.posterior, found.seeds)
        scores = {
            "active_units": self._score(context, "active_units", float(active(found.posterior.mean)), None, found),
            "mutual_information": self._mean(context, "mutual_information", informed, found),
            "divergence": self._mean(context, "divergence", found.divergence, found),
        }
        if found.accuracies is not None:
            scores["token_accuracy"] = self._mean(context, "token_accuracy", found.accuracies, found)
        return scores

    def _mean(self, context: Context, figure: str, values: np.ndarray, found: _Measured) -> Score:
        return self._score(context, figure, float(values.mean()), of_mean(values.tolist()), found)

    def _score(
        self, context: Context, figure: str, value: float, interval: tuple[float, float] | None, found: _Measured
    ) -> Score:
        floor = found.chance if figure == "token_accuracy" else None
        protocol = self.stamp(
            figure,
            context.stamp(),
            samples=len(found.seeds),
            seed=context.seed,
            unit={"active_units": "dimension", "token_accuracy": "share of places"}.get(figure, "nats an item"),
            interval_method="95 %, Student's t over items" if interval else "none: one number of all items",
            floor_method="the same against the next item's reconstruction"
            if floor is not None
            else "none: collapse is 0",
            detail={"dimensions": found.posterior.mean[0].numel(), "limit": math.log(len(found.seeds))},
        )
        return Score(value, interval, floor, protocol)


def active(mean: Tensor) -> int:
    """Dimensions of posterior means ``[N, *latent]`` whose variance over items is above 0.01."""
    return int((mean.double().flatten(1).var(0, unbiased=False) > ACTIVE).sum())


def information(posterior: Posterior, seeds: Tensor) -> np.ndarray:
    """float64 ``[N]``: log q(z|x) less log q(z) at a draw of each item's posterior, q(z) being the mean of all of them.

    Its mean estimates the mutual information from below the limit ``log N``, which it nears where no two posteriors
    overlap.
    """
    z, count = posterior.draw(seeds).flatten(1), len(seeds)
    mean, log_std = posterior.mean.flatten(1), posterior.log_std.flatten(1)
    found = []
    for rows in chunks(range(count), max(1, _NUMBERS // mean.numel())):
        within = slice(rows[0], rows[-1] + 1)
        densities = log_normal(z[within, None], mean, log_std).double().sum(2)
        own = densities[torch.arange(len(rows)), torch.tensor(rows)]
        found.append(own - densities.logsumexp(1) + math.log(count))
    joined: np.ndarray = torch.cat(found).numpy()
    return joined


def agreement(left: Sequence[int] | np.ndarray, right: Sequence[int] | np.ndarray) -> float:
    """Share of places with the same token, a missing one differing from any; 1 for two empty sequences."""
    places = max(len(left), len(right))
    return sum(a == b for a, b in zip(left, right, strict=False)) / places if places else 1.0


@dataclass(frozen=True, slots=True)
class _Measured:
    """Of every item: its posterior, seed and divergence; of tokens how much of it came back, and how much by chance."""

    posterior: Posterior
    seeds: Tensor
    divergence: np.ndarray
    accuracies: np.ndarray | None
    chance: float | None


def _measure(context: Context) -> _Measured:
    family: Any = require(context.model.family, Infers, "the metric posterior")
    writes = context.model.family.target.form is Form.TOKENS and isinstance(context.model.family, Latent)
    means, widths, nats, seeds = [], [], [], []
    items: list[np.ndarray] = []
    back: list[np.ndarray] = []
    for chosen in chunks(context.rows, context.batch_rows):
        batch = context.held.batch(chosen, augment=None)
        own = seeds_of(context.seed, batch.ids)
        moved = batch.to(family.device)
        made = family.posterior(moved)
        means.append(made.mean.cpu())
        widths.append(made.log_std.cpu())
        nats.append(family.divergence(moved, seeds=own.to(family.device)).double().cpu())
        seeds.append(own)
        if writes:
            samples = family.decode(Field(made.mean), moved.conditions, seeds=own.to(family.device))
            items += _rows(batch.target)
            back += _rows(samples.to("cpu").field())
    posterior = Posterior(torch.cat(means), torch.cat(widths))
    if not (torch.isfinite(posterior.mean).all() and torch.isfinite(posterior.log_std).all()):
        raise Diverged("a held-out posterior is not finite", cure="lower train.learning_rate and train again")
    accuracies = np.array([agreement(*pair) for pair in zip(items, back, strict=True)]) if writes else None
    return _Measured(posterior, torch.cat(seeds), torch.cat(nats).numpy(), accuracies, _chance(items, back))


def _chance(items: Sequence[np.ndarray], back: Sequence[np.ndarray]) -> float | None:
    if len(items) < 2:
        return None
    return float(np.mean([agreement(one, other) for one, other in zip(items, [*back[1:], back[0]], strict=True)]))


def _rows(field: Field) -> list[np.ndarray]:
    return [row[mask].numpy() for row, mask in zip(field.values, field.mask(), strict=True)]
