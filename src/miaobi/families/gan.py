"""Generative adversarial networks (Goodfellow et al. 2014), label- or text-conditioned where there are conditions.

The default objective is the relativistic pairing with zero-centred penalties on data and samples of Huang et al. 2024,
"The GAN is dead; long live the GAN! A modern GAN baseline", with the penalties at intervals as in Karras et al. 2020,
"Analyzing and improving the image quality of StyleGAN": they cost most of a step. What the discriminator sees may be
augmented (`miaobi.families._augmentation`), for little data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._adversarial import LossName, adversarial, off_one, squared_slope
from miaobi.families._augmentation import Augmentation, AugmentSettings, check
from miaobi.families._base import Family, FamilyConfig, Ports, refuse_prefix
from miaobi.networks import Network
from miaobi.networks._noise_inputs import NoisyNetwork
from miaobi.sampling.noise import derive, noise, uniform
from miaobi.types import Batch, Field, Form, Loss, Phase, Samples, Spec, vector_spec

Fields = dict[str, Field]


class GAN(Family):
    """A generator from a normal latent to the target, and a discriminator from the target to one score."""

    class Config(FamilyConfig):
        """Penalty weights that are not given are the loss's own."""

        loss: LossName = "relativistic"
        latent: int = Value(64, ge=1, le=65536, description="length of the generator's input")
        r1: float | None = Value(None, ge=0, le=1e6, description="gamma of the zero-centred penalty on data")
        r2: float | None = Value(None, ge=0, le=1e6, description="gamma of the zero-centred penalty on samples")
        gradient_penalty: float | None = Value(
            None, ge=0, le=1e6, description="weight of the one-centred penalty between data and samples"
        )
        penalty_interval: int = Value(4, ge=1, le=1000, description="penalise every so many steps, that much harder")
        discriminator_steps: int | None = Value(None, ge=1, le=100, description="its turns for one of the generator's")
        augment: AugmentSettings = Value(AugmentSettings(), description="of all that the discriminator sees")

    class Controls(_base.Controls):
        """How samples are drawn."""

        truncation: float = Value(1.0, gt=0, le=1, description="shrinks the latent: fewer outliers, less variety")

    tiny = {"latent": 8}
    targets = frozenset({Form.TENSOR})
    roles = {"generator": "convolutional", "discriminator": "convolutional"}
    default_steps = 10_000
    # Without momentum of the first kind, as in every modern GAN: the target moves against it.
    betas = (0.0, 0.99)

    generator: Network
    discriminator: Network

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.adversarial = adversarial(config.loss)
        self.r1 = _chosen(config.r1, self.adversarial.zero_centred)
        self.r2 = _chosen(config.r2, self.adversarial.zero_centred)
        self.gradient_penalty = _chosen(config.gradient_penalty, self.adversarial.one_centred)
        self.augmentation = Augmentation(config.augment) if config.augment.policy else None

    @property
    def double_backward(self) -> bool:
        """Whether a penalty differentiates the discriminator's gradient."""
        return max(self.r1, self.r2, self.gradient_penalty) > 0

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """A flat latent to the target; the target to one score; both are told the conditions."""
        if target.form is not Form.TENSOR:
            raise Unsupported("a GAN makes tensors", given=target.form.value, cure="for tokens use autoregressive")
        check(config.augment, target)
        told = dict(conditions)
        return {
            "generator": Ports(vector_spec(config.latent), target, told),
            "discriminator": Ports(target, vector_spec(1), told),
        }

    @classmethod
    def metric(cls, form: Form) -> str:
        """Adversarial losses do not measure progress; a distance to the data does."""
        return "kernel_distance"

    def phases(self) -> list[Phase]:
        """The discriminator's turns (with its penalty apart where that is rarer), then the generator's."""
        turns = self.config.discriminator_steps or self.adversarial.discriminator_steps
        found = [Phase("discriminator", ("discriminator",), repeat=turns)]
        if self.double_backward and self.config.penalty_interval > 1:
            found.append(Phase("penalty", ("discriminator",), interval=self.config.penalty_interval))
        return [*found, Phase("generator", ("generator",))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The loss of ``discriminator``, ``penalty`` or ``generator``, for data ``[B, C, *space]`` in [-1, 1]."""
        batch = self.drop_conditions(batch, seeds)
        return self._turns()[phase](batch, seeds)

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Adapt the augmentation to the discriminator's turn."""
        if self.augmentation is not None and phase == "discriminator":
            self.augmentation.adapt(statistics["confidence"], statistics["items"])

    @torch.no_grad()
    def sample(
        self,
        conditions: Fields,
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """``[len(seeds), C, *space]``, one latent a seed."""
        refuse_prefix(prefix, "a GAN")
        return self.from_latents(self.latents(seeds), conditions, controls=controls, seeds=seeds)

    def latents(self, seeds: Tensor) -> Tensor:
        """``[len(seeds), latent]``."""
        return noise(seeds, "latent", (self.config.latent,))

    @torch.no_grad()
    def from_latents(self, z: Tensor, conditions: Fields, *, controls: Any = None, seeds: Tensor) -> Samples:
        """``[B, C, *space]`` for latents ``[B, latent]``; ``seeds`` are of noise inputs."""
        controls = controls or self.Controls()
        return Samples(self.generator(controls.truncation * z, conditions, **self._noises(seeds)))

    def _turns(self) -> dict[str, Callable[[Batch, Tensor], Loss]]:
        return {"discriminator": self._discriminate, "penalty": self._penalise, "generator": self._generate}

    def _noises(self, seeds: Tensor) -> dict[str, Any]:
        """What the generator's noise inputs get, where it has any."""
        if not isinstance(self.generator, NoisyNetwork):
            return {}
        own = derive(seeds, "noise inputs")
        return {"noise": {name: noise(own, name, shape) for name, shape in self.generator.noises.items()}}

    def _make(self, conditions: Fields, seeds: Tensor) -> Tensor:
        """Samples to train with."""
        made: Tensor = self.generator(self.latents(seeds), conditions, **self._noises(seeds))
        return made

    def _fakes(self, batch: Batch, seeds: Tensor) -> Tensor:
        """Samples that carry no gradient to the generator: in the discriminator's turn it only supplies data."""
        with torch.no_grad():
            fakes: Tensor = self._make(batch.conditions, seeds)
        return fakes

    def _shown(self, inputs: Tensor, seeds: Tensor) -> Tensor:
        """What the discriminator sees of ``inputs``."""
        return inputs if self.augmentation is None else self.augmentation(inputs, derive(seeds, "augment"))

    def _judge(self, inputs: Tensor, conditions: Fields, seeds: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(self._shown(inputs, seeds), conditions)
        return logits.flatten().float()

    def _examine(self, inputs: Tensor, conditions: Fields, seeds: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits of data and samples, one after the other, and further losses ``[B]`` of the discriminator's turn."""
        return self._judge(inputs, conditions, seeds), {}

    def _discriminate(self, batch: Batch, seeds: Tensor) -> Loss:
        real, fakes = batch.target.values, self._fakes(batch, seeds)
        every_step = self.double_backward and self.config.penalty_interval == 1
        inputs = torch.cat([real, fakes]).requires_grad_(every_step and max(self.r1, self.r2) > 0)
        logits, further = self._examine(inputs, _twice(batch.conditions), _both(seeds))
        on_real, on_fake = logits.chunk(2)
        if every_step:
            further["penalty"] = self._penalty(batch, inputs, logits, seeds)
        loss = sum(further.values(), self.adversarial.discriminator(on_real, on_fake))
        parts = {"real_logit": on_real, "fake_logit": on_fake, **further}
        if self.augmentation is None:
            return _loss(loss, parts)
        parts["augmented"] = self.augmentation.probability.expand(len(batch))
        sure = self.adversarial.confidence(on_real, on_fake).detach().sum()
        return _loss(loss, parts, {"confidence": sure, "items": torch.full_like(sure, len(batch))})

    def _penalise(self, batch: Batch, seeds: Tensor) -> Loss:
        inputs = torch.cat([batch.target.values, self._fakes(batch, seeds)]).requires_grad_(True)
        logits = inputs.new_zeros(0)
        if max(self.r1, self.r2) > 0:
            logits = self._judge(inputs, _twice(batch.conditions), _both(seeds))
        penalty = self._penalty(batch, inputs, logits, seeds)
        return _loss(self.config.penalty_interval * penalty, {"penalty": penalty})

    def _penalty(self, batch: Batch, inputs: Tensor, logits: Tensor, seeds: Tensor) -> Tensor:
        """``[B]``: the weighted penalties, given data and samples one after the other and their logits."""
        penalty = inputs.new_zeros(len(batch))
        if max(self.r1, self.r2) > 0:
            on_real, on_fake = squared_slope(logits, inputs).chunk(2)
            penalty = penalty + 0.5 * (self.r1 * on_real + self.r2 * on_fake)
        if self.gradient_penalty > 0:
            share = uniform(seeds, "between", (1,) * (inputs.ndim - 1))
            real, fakes = inputs.detach().chunk(2)
            between = torch.lerp(fakes, real, share).requires_grad_(True)
            slopes = squared_slope(self._judge(between, batch.conditions, derive(seeds, "between")), between)
            penalty = penalty + self.gradient_penalty * off_one(slopes)
        return penalty

    def _generate(self, batch: Batch, seeds: Tensor) -> Loss:
        fakes = self._make(batch.conditions, seeds)
        on_fake = self._judge(fakes, batch.conditions, derive(seeds, "fake"))
        on_real = on_fake.detach()
        if self.adversarial.paired:
            with torch.no_grad():
                on_real = self._judge(batch.target.values, batch.conditions, derive(seeds, "real"))
        return _loss(self.adversarial.generator(on_real, on_fake), {"fake_logit": on_fake})


def _chosen(given: float | None, published: float) -> float:
    return published if given is None else given


def _twice(conditions: Fields) -> Fields:
    return {name: field.map(lambda tensor: torch.cat([tensor, tensor])) for name, field in conditions.items()}


def _both(seeds: Tensor) -> Tensor:
    """Seeds of data and samples, one after the other: both are augmented, each in its own way."""
    return torch.cat([derive(seeds, "real"), derive(seeds, "fake")])


def _loss(loss: Tensor, parts: Mapping[str, Tensor], statistics: Mapping[str, Tensor] | None = None) -> Loss:
    sums = {name: part.detach().sum() for name, part in parts.items()}
    return Loss(loss.sum(), float(len(loss)), sums, dict(statistics or {}))
