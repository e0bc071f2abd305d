"""Variational autoencoders (Kingma and Welling 2014, "Auto-encoding variational Bayes"; Rezende et al. 2014).

With ``beta`` (Higgins et al. 2017), free bits (Kingma et al. 2016), learned priors, and the importance-weighted bound
of Burda, Grosse and Salakhutdinov 2015 for evaluation. Conditions make it the conditional VAE of Sohn et al. 2015.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._likelihoods import LikelihoodName, ScaleName, likelihood_class
from miaobi.families._priors import PriorName, log_normal, make_prior
from miaobi.networks import Network
from miaobi.sampling.noise import derive, noise
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec, vector_spec

_LOG_STD = (-8.0, 4.0)
_ACTIVE = 0.01
"""Variance of the posterior mean over data above which a dimension counts as used (Burda et al. 2015)."""
_MEMORY = 0.98
"""Decay of the running moments behind `VAE.active_units`."""


class VAE(Family):
    """An encoder to a diagonal normal over a flat latent, and a decoder to the outputs of a pixel likelihood."""

    class Config(FamilyConfig):
        """The likelihood defaults to one of the data's own kind."""

        latent: int = Value(32, ge=1, le=65536)
        beta: float = Value(1.0, ge=0, le=1e6, description="weight of the divergence from the prior")
        free_bits: float = Value(0.0, ge=0, le=100, description="nats a latent dimension that cost nothing")
        likelihood: LikelihoodName | None = Value(
            None, description="default: discretised_logistic, gaussian if unquantised"
        )
        scale: ScaleName = Value("predicted", description="of pixels: predicted for each, or shared (sharper means)")
        prior: PriorName = Value("standard", description="standard, or learned: mixture, flow")
        components: int = Value(128, ge=1, le=65536, description="normals in a mixture prior")
        importance_samples: int = Value(16, ge=1, le=100_000, description="of the evaluation's bound: more is tighter")

    class Controls(_base.Controls):
        """How samples are drawn."""

        temperature: float = Value(1.0, ge=0, le=10, description="scales the prior's noise")
        mean: bool = Value(True, description="the likelihood's centre, in place of pixels drawn from it")

    tiny = {"latent": 8, "importance_samples": 4}
    targets = frozenset({Form.TENSOR})
    roles = {"encoder": "convolutional", "decoder": "convolutional"}
    default_steps = 10_000

    encoder: Network
    decoder: Network
    moments: Tensor

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.likelihood = likelihood_class(_likelihood_name(config, target))(target, config.scale)
        self.prior = make_prior(config.prior, config.latent, config.components)
        # Weight, mean and mean square of the posterior mean, decayed over batches.
        self.register_buffer("moments", torch.zeros(3, config.latent))

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """The target to means and log-widths of the latent; a latent to the likelihood's outputs."""
        if target.form is not Form.TENSOR:
            raise Unsupported("a VAE makes tensors", given=target.form.value, cure="for tokens use autoregressive")
        told = dict(conditions)
        likelihood = likelihood_class(_likelihood_name(config, target))(target, config.scale)
        said = Spec(Form.TENSOR, channels=likelihood.outputs, space=target.space)
        return {
            "encoder": Ports(target, vector_spec(2 * config.latent), told),
            "decoder": Ports(vector_spec(config.latent), said, told),
        }

    @classmethod
    def metric(cls, form: Form) -> str:
        """The held-out bound."""
        return "likelihood"

    def phases(self) -> list[Phase]:
        """One: everything learns together."""
        return [Phase("vae", ("encoder", "decoder", "likelihood", "prior"))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The negative bound, summed over dimensions and items, of data ``[B, C, *space]`` in [-1, 1]."""
        batch = self.drop_conditions(batch, seeds)
        mean, log_std = self._posterior(batch)
        z = mean + log_std.exp() * noise(seeds, "posterior", mean.shape[1:])
        fit = self.likelihood.log_prob(self.decoder(z, batch.conditions), batch.target.values, seeds)
        divergence = self._divergence(mean, log_std, z)
        allowance = self.config.free_bits * self.config.latent / divergence.shape[1]
        charged = divergence.clamp(min=allowance).sum(1) if allowance else divergence.sum(1)
        count = float(len(batch))
        parts = {
            "reconstruction": -fit.detach().sum(),
            "divergence": divergence.detach().sum(),
            "active_units": count * self.active_units(),
        }
        seen = mean.detach()
        statistics = {"moments": torch.stack([torch.full_like(seen[0], count), seen.sum(0), seen.square().sum(0)])}
        return Loss((self.config.beta * charged - fit).sum(), count, parts, statistics)

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Follow the posterior means, to see which dimensions are used."""
        moments = statistics["moments"]
        self.moments.lerp_((moments / moments[0].clamp(min=1)).to(self.moments), 1 - _MEMORY)

    def active_units(self) -> Tensor:
        """How many latent dimensions say something about recent batches; zero means posterior collapse."""
        _, mean, square = self.moments / self.moments[0].clamp(min=1e-12)
        return (square - mean.square() > _ACTIVE).float().sum()

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """The importance-weighted upper bound on nats an item, with ``importance_samples`` draws."""
        mean, log_std = self._posterior(batch)
        weights = [
            self._log_weight(batch, mean, log_std, derive(seeds, k)) for k in range(self.config.importance_samples)
        ]
        log_likelihood = torch.logsumexp(torch.stack(weights), 0) - math.log(len(weights))
        predicted = torch.full((len(batch),), self.target.size, device=mean.device)
        return Bound(-log_likelihood, exact=False, predicted=predicted)

    @torch.no_grad()
    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """``[len(seeds), C, *space]`` decoded from draws of the prior."""
        if prefix is not None:
            raise Unsupported("a VAE cannot continue a prefix", cure="leave the prefix out")
        controls = controls or self.Controls()
        return self.decode(
            Field(self.prior.draw(seeds, controls.temperature)), conditions, controls=controls, seeds=seeds
        )

    @torch.no_grad()
    def encode(self, batch: Batch, *, seeds: Tensor | None = None) -> Field:
        """``[B, latent]``: the posterior's mean, or a draw from it with ``seeds``."""
        mean, log_std = self._posterior(batch)
        return Field(mean if seeds is None else mean + log_std.exp() * noise(seeds, "posterior", mean.shape[1:]))

    @torch.no_grad()
    def decode(self, z: Field, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        """``[B, C, *space]`` for latents ``[B, latent]``; ``seeds`` draw pixels where ``mean`` is off."""
        controls = controls or self.Controls()
        outputs = self.decoder(z.values, conditions)
        return Samples(self.likelihood.mean(outputs) if controls.mean else self.likelihood.draw(outputs, seeds))

    def _posterior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        mean, log_std = self.encoder(batch.target.values, batch.conditions).float().chunk(2, 1)
        return mean, log_std.clamp(*_LOG_STD)

    def _divergence(self, mean: Tensor, log_std: Tensor, z: Tensor) -> Tensor:
        """KL from the prior: ``[B, latent]`` in closed form for the unit normal, else estimated, ``[B, 1]``."""
        if self.config.prior == "standard":
            return 0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std
        return (log_normal(z, mean, log_std).sum(1) - self.prior.log_prob(z))[:, None]

    def _log_weight(self, batch: Batch, mean: Tensor, log_std: Tensor, seeds: Tensor) -> Tensor:
        z = mean + log_std.exp() * noise(seeds, "posterior", mean.shape[1:])
        fit = self.likelihood.log_prob(self.decoder(z, batch.conditions), batch.target.values, seeds)
        return fit + self.prior.log_prob(z) - log_normal(z, mean, log_std).sum(1)


def _likelihood_name(config: Any, target: Spec) -> LikelihoodName:
    return config.likelihood or ("discretised_logistic" if target.levels else "gaussian")
