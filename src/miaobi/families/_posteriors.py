"""Normal posteriors over a latent: draws, divergence from a prior, what free bits charge, and what is used of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from miaobi.families._priors import Prior, StandardPrior, log_normal
from miaobi.sampling.noise import noise

_LOG_STD = (-8.0, 4.0)
ACTIVE = 0.01
"""Variance of the posterior mean over data above which a dimension counts as used (Burda et al. 2015)."""
_MEMORY = 0.98
"""Decay of what `active_units` is told by."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """Independent normals, a mean and a log-deviation ``[B, *latent]`` float32 for every number of the latent."""

    mean: Tensor
    log_std: Tensor

    @classmethod
    def of(cls, outputs: Tensor) -> Posterior:
        """From an encoder's outputs ``[B, 2 * channels, *space]``."""
        mean, log_std = outputs.float().chunk(2, 1)
        return cls(mean, log_std.clamp(*_LOG_STD))

    def draw(self, seeds: Tensor) -> Tensor:
        """``[B, *latent]``."""
        return self.mean + self.log_std.exp() * noise(seeds, "posterior", self.mean.shape[1:])

    def log_prob(self, z: Tensor) -> Tensor:
        """``[B]`` nats of ``z [B, *latent]``."""
        return log_normal(z, self.mean, self.log_std).flatten(1).sum(1)

    def divergence(self, prior: Prior, z: Tensor) -> Tensor:
        """KL from the prior: ``[B, size]`` in closed form for the unit normal, else estimated at a draw, ``[B, 1]``."""
        if isinstance(prior, StandardPrior):
            return (0.5 * (self.mean.square() + (2 * self.log_std).exp() - 1) - self.log_std).flatten(1)
        return (self.log_prob(z) - prior.log_prob(z.flatten(1)))[:, None]


def charged(divergence: Tensor, free_bits: float, size: int) -> Tensor:
    """``[B]`` of a divergence ``[B, size]`` or ``[B, 1]``: the first ``free_bits`` nats a dimension cost nothing.

    Kingma et al. 2016, "Improved variational inference with inverse autoregressive flow", item by item, so that losses
    of micro-batches add up.
    """
    allowance = free_bits * size / divergence.shape[1]
    return divergence.clamp(min=allowance).sum(1) if allowance else divergence.sum(1)


def moments_of(mean: Tensor) -> Tensor:
    """``[3, size]``: count, sum and sum of squares of posterior means ``[B, *latent]``; they add up over batches."""
    seen = mean.detach().flatten(1)
    return torch.stack([torch.full_like(seen[0], float(len(seen))), seen.sum(0), seen.square().sum(0)])


def follow(running: Tensor, moments: Tensor) -> None:
    """Let a running weight, mean and variance ``[3, size]`` (zeros at first) decay towards a batch's, in place.

    The variance is that within a batch: means that wander together as training goes on tell no item from another.
    """
    _, mean, square = moments / moments[0].clamp(min=1)
    weight = (moments[0] > 0).to(mean)
    running.lerp_(torch.stack([weight, mean, square - mean.square()]).to(running), 1 - _MEMORY)


def active_units(running: Tensor) -> Tensor:
    """How many latent dimensions say something about recent batches; zero means posterior collapse."""
    weight, _, variance = running
    return (variance / weight.clamp(min=1e-12) > ACTIVE).float().sum()
