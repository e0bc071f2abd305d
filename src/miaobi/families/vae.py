"""Variational autoencoders (Kingma and Welling 2014, "Auto-encoding variational Bayes"; Rezende et al. 2014).

With ``beta`` (Higgins et al. 2017), free bits (Kingma et al. 2016), learned priors, and the importance-weighted bound
of Burda, Grosse and Salakhutdinov 2015 for evaluation. Conditions make it the conditional VAE of Sohn et al. 2015.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports, refuse_prefix
from miaobi.families._latents import LATENTS, Factor, latent_spec, require_kind
from miaobi.families._likelihoods import LikelihoodName, ScaleName, likelihood_class, likelihood_name
from miaobi.families._posteriors import Posterior, active_units, charged, follow, moments_of
from miaobi.families._priors import PriorName, make_prior
from miaobi.networks import Network
from miaobi.sampling.noise import derive
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec


class VAE(Family):
    """An encoder to a diagonal normal over a flat or spatial latent; a decoder to a pixel likelihood's outputs."""

    class Config(FamilyConfig):
        """The likelihood defaults to one of the data's own kind."""

        latent: int = Value(32, ge=1, le=65536, description="length of the latent, or channels of a spatial one")
        spatial: Factor | None = Value(None, description="keep the target's space, every extent divided by this")
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
    evaluation_only = frozenset({"importance_samples"})
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
        self.likelihood = likelihood_class(likelihood_name(config.likelihood, target))(target, config.scale)
        self.latent = latent_spec(config.latent, target, config.spatial)
        self.prior = make_prior(config.prior, self.latent.size, config.components)
        # Weight, mean and variance of the posterior mean, decayed over batches.
        self.register_buffer("moments", torch.zeros(3, self.latent.size))

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """The target to means and log-widths of the latent; a latent to the likelihood's outputs."""
        if target.form is not Form.TENSOR:
            raise Unsupported("a VAE makes tensors", given=target.form.value, cure="for tokens use sequence_vae")
        if config.spatial is not None and config.prior != "standard":
            raise Unsupported(
                "learned priors are of flat latents",
                given=f"prior {config.prior} with spatial {config.spatial}",
                cure="prior: standard, and model the latents with a family of their own; or leave spatial out",
            )
        told = dict(conditions)
        likelihood = likelihood_class(likelihood_name(config.likelihood, target))(target, config.scale)
        said = Spec(Form.TENSOR, channels=likelihood.outputs, space=target.space)
        return {
            "encoder": Ports(target, latent_spec(2 * config.latent, target, config.spatial), told),
            "decoder": Ports(latent_spec(config.latent, target, config.spatial), said, told),
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
        posterior = self.posterior(batch)
        z = posterior.draw(seeds)
        fit = self.likelihood.log_prob(self.decoder(z, batch.conditions), batch.target.values, seeds)
        divergence = posterior.divergence(self.prior, z)
        cost = charged(divergence, self.config.free_bits, self.latent.size)
        count = float(len(batch))
        parts = {
            "reconstruction": -fit.detach().sum(),
            "divergence": divergence.detach().sum(),
            "active_units": count * self.active_units(),
        }
        statistics = {"moments": moments_of(posterior.mean)}
        return Loss((self.config.beta * cost - fit).sum(), count, parts, statistics)

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Follow the posterior means, to see which dimensions are used."""
        follow(self.moments, statistics["moments"])

    def active_units(self) -> Tensor:
        """How many latent dimensions say something about recent batches; zero means posterior collapse."""
        return active_units(self.moments)

    def posterior(self, batch: Batch) -> Posterior:
        """What the encoder says of the latent, with the batch's conditions."""
        return Posterior.of(self.encoder(batch.target.values, batch.conditions))

    @torch.no_grad()
    def divergence(self, batch: Batch, *, seeds: Tensor) -> Tensor:
        """``[B]`` nats from the prior to the posterior; of a learned prior estimated at a draw."""
        posterior = self.posterior(batch)
        return posterior.divergence(self.prior, posterior.draw(seeds)).sum(1)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """The importance-weighted upper bound on nats an item, with ``importance_samples`` draws."""
        posterior = self.posterior(batch)
        weights = [self._log_weight(batch, posterior, derive(seeds, k)) for k in range(self.config.importance_samples)]
        log_likelihood = torch.logsumexp(torch.stack(weights), 0) - math.log(len(weights))
        predicted = torch.full((len(batch),), self.target.size, device=log_likelihood.device)
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
        refuse_prefix(prefix, "a VAE")
        controls = controls or self.Controls()
        z = self.prior.draw(seeds, controls.temperature).unflatten(1, (self.latent.channels, *self.latent.space))
        return self.decode(Field(z), conditions, controls=controls, seeds=seeds)

    @torch.no_grad()
    def encode(self, batch: Batch, *, seeds: Tensor | None = None) -> Field:
        """``[B, latent, *space / spatial]``: the posterior's mean, or a draw from it with ``seeds``."""
        posterior = self.posterior(batch)
        return Field(posterior.mean if seeds is None else posterior.draw(seeds))

    @torch.no_grad()
    def decode(self, z: Field, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        """``[B, C, *space]`` for latents as `encode` gives them; ``seeds`` draw pixels where ``mean`` is off."""
        controls = controls or self.Controls()
        outputs = self.decoder(z.values, conditions)
        return Samples(self.likelihood.mean(outputs) if controls.mean else self.likelihood.draw(outputs, seeds))

    def representations(self) -> dict[str, Spec]:
        """``latents``: the posterior's means."""
        return {LATENTS: self.latent}

    @torch.no_grad()
    def represent(self, batch: Batch, kind: str) -> Field:
        """Means as if no condition were given, since none is there when they are decoded again."""
        require_kind(kind, self.representations())
        self._require_unconditional()
        return self.encode(replace(batch, conditions={}))

    def restore(self, field: Field, kind: str, *, seeds: Tensor) -> Samples:
        """The likelihood's centre for latents, without conditions."""
        require_kind(kind, self.representations())
        self._require_unconditional()
        return self.decode(field, {}, seeds=seeds)

    def _require_unconditional(self) -> None:
        if self.conditions and self.config.condition_drop == 0:
            raise Unsupported(
                "this VAE never learned to do without its conditions, so its latents alone are no representation",
                given="condition_drop: 0",
                cure="train it without conditions, or with condition_drop above 0",
            )

    def _log_weight(self, batch: Batch, posterior: Posterior, seeds: Tensor) -> Tensor:
        z = posterior.draw(seeds)
        fit = self.likelihood.log_prob(self.decoder(z, batch.conditions), batch.target.values, seeds)
        return fit + self.prior.log_prob(z.flatten(1)) - posterior.log_prob(z)
