"""Discrete autoencoders: an item as a few codes of a finite vocabulary, for token families to model.

Quantised by finite scalars (Mentzer et al. 2023, "Finite scalar quantization: VQ-VAE made simple") or by a codebook
(van den Oord, Vinyals and Kavukcuoglu 2017, "Neural discrete representation learning"); with a patch critic, the
objective of Esser, Rombach and Ommer 2021, "Taming transformers for high-resolution image synthesis".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from pydantic import Field as Value
from pydantic import field_validator
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports, refuse_prefix
from miaobi.families._latents import CODES, LATENTS, Factor, latent_spec, require_kind
from miaobi.families._likelihoods import LikelihoodName, ScaleName, likelihood_class, likelihood_name
from miaobi.families._perceptual import PatchCritic, multi_scale_difference
from miaobi.families._quantisers import FiniteScalarQuantiser, Quantiser, VectorQuantiser
from miaobi.networks import Network
from miaobi.sampling.noise import uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec

_MOST_CODES = 1 << 18
_TRAINED = ("encoder", "decoder", "likelihood")


class Discrete(Family):
    """An encoder to a grid of codes and a decoder back to the outputs of a pixel likelihood.

    Conditions are not used: codes tell the whole item, so whatever models them may be told any condition. By itself it
    samples each code by how often it occurs, wherever it stands: the floor for models of codes.
    """

    class Config(FamilyConfig):
        """Weights of what is added to the likelihood are in nats a dimension of the target."""

        factor: Factor = Value(4, description="every extent is divided by this, rounding up")
        quantiser: Literal["finite_scalar", "vector"] = "finite_scalar"
        levels: Annotated[list[Annotated[int, Value(ge=2, le=64)]], Value(min_length=1, max_length=16)] = Value(
            [8, 5, 5, 5], description="finite_scalar: levels of each channel; their product is the number of codes"
        )
        codes: int = Value(512, ge=2, le=_MOST_CODES, description="vector: codes in the codebook")
        code_width: int = Value(8, ge=2, le=4096, description="vector: numbers a code")
        commitment: float = Value(0.25, ge=0, le=1e6, description="vector: weight of the distance to the code")
        likelihood: LikelihoodName | None = Value(
            None,
            description="default: discretised_logistic, gaussian if unquantised; laplace and gaussian are L1 and L2",
        )
        scale: ScaleName = Value("shared", description="of pixels: shared (sharper means), or predicted for each")
        detail: float = Value(0.0, ge=0, le=1e6, description="weight of edges at several scales")
        adversarial: float = Value(0.0, ge=0, le=1e6, description="weight of a patch critic; 0: there is none")
        adversarial_from: int = Value(1000, ge=0, le=10**9, description="step at which the critic starts")
        critic_width: int = Value(32, ge=1, le=4096, description="channels of the critic's first layer")

        @field_validator("levels")
        @classmethod
        def _countable(cls, levels: list[int]) -> list[int]:
            if math.prod(levels) > _MOST_CODES:
                raise ValueError(f"the product of the levels, {math.prod(levels)} codes, is above {_MOST_CODES}")
            return levels

    class Controls(_base.Controls):
        """How samples are drawn."""

        temperature: float = Value(1.0, gt=0, le=100, description="of the codes' frequencies: high for rare ones")
        mean: bool = Value(True, description="the likelihood's centre, in place of pixels drawn from it")

    tiny = {"levels": [5, 5, 5]}
    targets = frozenset({Form.TENSOR})
    roles = {"encoder": "convolutional", "decoder": "convolutional"}
    default_steps = 10_000

    encoder: Network
    decoder: Network

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
        self.quantiser: Quantiser = (
            VectorQuantiser(config.codes, config.code_width)
            if config.quantiser == "vector"
            else FiniteScalarQuantiser(config.levels)
        )
        self.latent = latent_spec(self.quantiser.width, target, config.factor)
        self.critic = PatchCritic(target, config.critic_width) if config.adversarial else None

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """The target to a vector a code; these vectors to the likelihood's outputs."""
        if target.form is not Form.TENSOR:
            raise Unsupported("only tensors are turned into codes", given=target.form.value, cure="use autoregressive")
        if config.adversarial and not target.space:
            raise Unsupported(
                "a flat vector has no patches for a critic", given=target.to_json(), cure="adversarial: 0"
            )
        width = config.code_width if config.quantiser == "vector" else len(config.levels)
        latent = latent_spec(width, target, config.factor)
        likelihood = likelihood_class(likelihood_name(config.likelihood, target))(target, config.scale)
        said = Spec(Form.TENSOR, channels=likelihood.outputs, space=target.space)
        return {"encoder": Ports(target, latent, {}), "decoder": Ports(latent, said, {})}

    @classmethod
    def metric(cls, form: Form) -> str:
        """How near held-out items come back."""
        return "reconstruction"

    def phases(self) -> list[Phase]:
        """One; with a critic, a second in which it has its say, and the critic's own turn."""
        if self.critic is None:
            return [Phase("autoencoder", _TRAINED)]
        begin = self.config.adversarial_from
        return [
            *([Phase("autoencoder", _TRAINED, stop=begin)] if begin else []),
            Phase("adversarial", _TRAINED, start=begin),
            Phase("critic", ("critic",), start=begin),
        ]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The loss of ``autoencoder``, ``adversarial`` or ``critic``, for data ``[B, C, *space]`` in [-1, 1]."""
        if phase == "critic" and self.critic is not None:
            return self._criticise(batch, self.critic)
        data, config = batch.target.values, self.config
        quantised = self.quantiser(self.encoder(data), seeds)
        outputs = self.decoder(quantised.values)
        parts = {"reconstruction": -self.likelihood.log_prob(outputs, data, seeds)}
        made = self.likelihood.mean(outputs)
        if self.quantiser.commits:
            parts["commitment"] = config.commitment * self.target.size * quantised.commitment
        if config.detail:
            parts["detail"] = config.detail * self.target.size * multi_scale_difference(made, data)
        if phase == "adversarial" and self.critic is not None:
            parts["adversarial"] = config.adversarial * self.target.size * self.critic.fooled(made)
        count = float(len(batch))
        shown = {name: part.detach().sum() for name, part in parts.items()}
        shown["code_use"] = count * self.quantiser.used()
        shown["code_perplexity"] = count * self.quantiser.perplexity()
        return Loss(torch.stack(list(parts.values())).sum(), count, shown, quantised.statistics)

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Follow which codes are chosen, and by what."""
        if statistics:
            self.quantiser.observe(statistics)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """An upper bound on nats an item: those of its own codes, each by its frequency, and of the item given them."""
        codes = self._codes(batch)
        fit = self.likelihood.log_prob(self._outputs(codes), batch.target.values, seeds)
        told = self.quantiser.shares().log()[codes].reshape(len(codes), -1).sum(1)
        predicted = torch.full((len(batch),), self.target.size, device=fit.device)
        return Bound(-fit - told, exact=False, predicted=predicted)

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
        """``[len(seeds), C, *space]`` from codes drawn by their frequencies, whatever the conditions."""
        refuse_prefix(prefix, "a discrete autoencoder")
        controls = controls or self.Controls()
        shares = (self.quantiser.shares().log() / controls.temperature).softmax(0).cumsum(0)
        drawn = torch.searchsorted(shares, uniform(seeds, "codes", self.latent.space))
        return self._shown(self._outputs(drawn.clamp(max=len(shares) - 1)), controls, seeds)

    @torch.no_grad()
    def encode(self, batch: Batch, *, seeds: Tensor | None = None) -> Field:
        """``[B, D, *space / factor]``: the codes' vectors, in [-1, 1]. There is no posterior to draw from."""
        return Field(self.quantiser.lookup(self._codes(batch)))

    @torch.no_grad()
    def decode(self, z: Field, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        """``[B, C, *space]`` for latents, each taken as the nearest code; ``seeds`` draw pixels without ``mean``."""
        codes = self.quantiser.assign(z.values.float())
        return self._shown(self._outputs(codes), controls or self.Controls(), seeds)

    def representations(self) -> dict[str, Spec]:
        """``codes``: tokens in raster order, always as many; ``latents``: their vectors."""
        positions = self.latent.size // self.latent.channels
        codes = Spec(Form.TOKENS, vocabulary=self.quantiser.codes, max_length=positions, fixed=True)
        return {CODES: codes, LATENTS: self.latent}

    @torch.no_grad()
    def represent(self, batch: Batch, kind: str) -> Field:
        """Codes ``[B, positions]`` int64, or latents ``[B, D, *space / factor]``."""
        require_kind(kind, self.representations())
        codes = self._codes(batch)
        return Field(codes.reshape(len(codes), -1) if kind == CODES else self.quantiser.lookup(codes))

    @torch.no_grad()
    def restore(self, field: Field, kind: str, *, seeds: Tensor) -> Samples:
        """The likelihood's centre for codes or latents.

        Raises:
            UnknownName: another kind.
            Unsupported: codes that there are not, or too few or many of them.
        """
        spec = require_kind(kind, self.representations())
        if kind == LATENTS:
            return self.decode(field, {}, seeds=seeds)
        _check(field.values, spec)
        codes = field.values.reshape(-1, *self.latent.space)
        return Samples(self.likelihood.mean(self._outputs(codes)))

    def _codes(self, batch: Batch) -> Tensor:
        return self.quantiser.assign(self.quantiser.bound(self.encoder(batch.target.values).float()))

    def _outputs(self, codes: Tensor) -> Tensor:
        outputs: Tensor = self.decoder(self.quantiser.lookup(codes))
        return outputs

    def _shown(self, outputs: Tensor, controls: Any, seeds: Tensor) -> Samples:
        return Samples(self.likelihood.mean(outputs) if controls.mean else self.likelihood.draw(outputs, seeds))

    def _criticise(self, batch: Batch, critic: PatchCritic) -> Loss:
        with torch.no_grad():
            made = self.likelihood.mean(self._outputs(self._codes(batch)))
        loss = critic.against(batch.target.values, made)
        return Loss(loss.sum(), float(len(batch)), {"critic": loss.detach().sum()})


def _check(codes: Tensor, spec: Spec) -> None:
    if codes.ndim != 2 or codes.shape[1] != spec.max_length:
        raise Unsupported(
            "there must be one code a position", given=tuple(codes.shape), allowed=f"(items, {spec.max_length})"
        )
    if len(codes) and not 0 <= int(codes.min()) <= int(codes.max()) < spec.vocabulary:
        raise Unsupported("not a code", given=int(codes.max()), allowed=f"0 to {spec.vocabulary - 1}")
