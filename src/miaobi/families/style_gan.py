"""Style-based generative adversarial networks: StyleGAN2's generator and its controls under any adversarial loss.

Karras, Laine and Aila 2019, "A style-based generator architecture for generative adversarial networks" (style mixing,
truncation towards the mean style); Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN" (path
length regularisation, at intervals). Loss, penalties and augmentation are those of the family ``gan``, with its
defaults (Huang et al. 2024, who started from StyleGAN2); the discriminator has no minibatch statistics, because an
item's loss would then depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base, gan
from miaobi.families._base import Family, refuse_prefix
from miaobi.networks import Network
from miaobi.sampling.noise import derive, integers, noise, seeds_of, uniform
from miaobi.types import Batch, Field, Loss, Phase, Samples, Spec

_STYLE_MEMORY = 0.995
_PATH_MEMORY = 0.99
"""Decays of the running mean style and of the running path length, as published."""


@runtime_checkable
class _Styled(Protocol):
    """A generator in two halves: latents to styles, styles to samples."""

    @property
    def layers(self) -> int: ...

    @property
    def width(self) -> int: ...

    def map(self, z: Tensor, conditions: dict[str, Field] | None = None) -> Tensor: ...

    def synthesise(self, styles: Tensor, noise: Mapping[str, Tensor] | None = None) -> Tensor: ...


class StyleGAN(gan.GAN):
    """A GAN whose generator works from styles, which can be mixed, averaged and drawn towards their mean."""

    class Config(gan.GAN.Config):
        """Beside the family ``gan``'s."""

        mixing: float = Value(0.9, ge=0, le=1, description="share of training samples made from two styles")
        path_length: float = Value(2.0, ge=0, le=1e6, description="weight of path length regularisation; 0: none")
        path_interval: int = Value(8, ge=1, le=1000, description="regularise every so many steps, that much harder")

    class Controls(_base.Controls):
        """How samples are drawn."""

        truncation: float = Value(
            1.0, ge=0, le=1, description="draws styles to their mean: fewer outliers, less variety"
        )
        mixing: int | None = Value(
            None, ge=0, lt=2**62, description="a second seed, whose first item gives every sample its fine styles"
        )
        crossover: float = Value(0.5, ge=0, le=1, description="share of the layers, coarse first, that keep their own")
        noise: bool = Value(True, description="false: the same fixed noise inputs for every sample")

    tiny = {"latent": 8}
    roles = {"generator": "stylegan", "discriminator": "convolutional"}

    generator: Any
    mean_style: Tensor
    mean_path: Tensor

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        if not isinstance(self.generator, _Styled):
            raise Unsupported(
                "the family style_gan needs a generator that works from styles",
                given=type(self.generator).__name__,
                allowed=("stylegan",),
                cure="use the network stylegan as the generator, or the family gan",
            )
        self.register_buffer("mean_style", torch.zeros(self.generator.width))
        self.register_buffer("mean_path", torch.zeros(()))

    @property
    def double_backward(self) -> bool:
        """Whether a penalty or the path length differentiates a gradient."""
        return super().double_backward or self.config.path_length > 0

    def phases(self) -> list[Phase]:
        """The family ``gan``'s, then path length regularisation."""
        path = Phase("path_length", ("generator",), interval=self.config.path_interval)
        return [*super().phases(), *([path] if self.config.path_length > 0 else [])]

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Follow the mean style and the mean path length."""
        super().after_phase(phase, statistics)
        if phase == "generator":
            self.mean_style.lerp_(statistics["styles"] / statistics["items"], 1 - _STYLE_MEMORY)
        if phase == "path_length":
            length = statistics["paths"] / statistics["items"]
            followed = torch.lerp(self.mean_path, length, 1 - _PATH_MEMORY)
            self.mean_path.copy_(torch.where(self.mean_path == 0, length, followed))

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
        """``[len(seeds), C, *space]``, one latent a seed."""
        refuse_prefix(prefix, "a GAN")
        styles = self.styles(conditions, controls=controls, seeds=seeds)
        return self.decode(styles, conditions, controls=controls, seeds=seeds)

    @torch.no_grad()
    def styles(self, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Field:
        """Styles ``[B, layers, width]`` for `decode`; what lies between two of them decodes to what lies between."""
        controls = controls or self.Controls()
        each = self._spread(self.generator.map(self.latents(seeds), conditions))
        if controls.mixing is not None:
            second = seeds_of(controls.mixing, [0]).to(seeds.device).expand(len(seeds))
            other = self._spread(self.generator.map(self.latents(second), conditions))
            kept = torch.arange(self.generator.layers, device=each.device) < self._own(controls.crossover)
            each = torch.where(kept[:, None], each, other)
        return Field(torch.lerp(self.mean_style.to(each), each, controls.truncation))

    @torch.no_grad()
    def from_latents(self, z: Tensor, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        """``[B, C, *space]`` for latents ``[B, latent]``, each of one style throughout."""
        controls = controls or self.Controls()
        each = self._spread(self.generator.map(z, conditions))
        styles = Field(torch.lerp(self.mean_style.to(each), each, controls.truncation))
        return self.decode(styles, conditions, controls=controls, seeds=seeds)

    @torch.no_grad()
    def decode(self, z: Field, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        """``[B, C, *space]`` for styles ``[B, layers, width]`` or ``[B, width]``, which hold the conditions already."""
        controls = controls or self.Controls()
        return Samples(self.generator.synthesise(z.values, **(self._noises(seeds) if controls.noise else {})))

    def _turns(self) -> dict[str, Callable[[Batch, Tensor], Loss]]:
        return {**super()._turns(), "path_length": self._regularise}

    def _spread(self, styles: Tensor) -> Tensor:
        return styles[:, None].expand(-1, self.generator.layers, -1)

    def _own(self, share: float) -> int:
        return round(share * self.generator.layers)

    def _mixed(self, conditions: dict[str, Field], seeds: Tensor) -> Tensor:
        """Styles ``[B, layers, width]`` to train with, some of them another latent's from a random layer on."""
        each = self._spread(self.generator.map(self.latents(seeds), conditions))
        layers = self.generator.layers
        if layers == 1 or self.config.mixing == 0:
            return each
        other = self._spread(self.generator.map(self.latents(derive(seeds, "second")), conditions))
        own = 1 + integers(seeds, "crossover", layers - 1)
        own = torch.where(uniform(seeds, "mixing") < self.config.mixing, own, layers)
        kept = torch.arange(layers, device=each.device)[None] < own[:, None]
        return torch.where(kept[..., None], each, other)

    def _make(self, conditions: dict[str, Field], seeds: Tensor) -> Tensor:
        made: Tensor = self.generator.synthesise(self._mixed(conditions, seeds), **self._noises(seeds))
        return made

    def _generate(self, batch: Batch, seeds: Tensor) -> Loss:
        loss = super()._generate(batch, seeds)
        with torch.no_grad():
            styles = self.generator.map(self.latents(seeds), batch.conditions).float()
        seen = {"styles": styles.sum(0), "items": styles.new_full((), len(batch))}
        return replace(loss, statistics={**loss.statistics, **seen})

    def _regularise(self, batch: Batch, seeds: Tensor) -> Loss:
        """Squared distance of each item's path length, the slope of random projections by its styles, from the mean."""
        styles = self._mixed(batch.conditions, seeds)
        made = self.generator.synthesise(styles, **self._noises(seeds))
        pixels = made[0, 0].numel()
        projection = (made * noise(seeds, "projection", made.shape[1:])).sum() * pixels**-0.5
        (slope,) = torch.autograd.grad(projection, styles, create_graph=True)
        paths = (slope.float().square().sum(2).mean(1) + 1e-12).sqrt()
        # The first batch only says how long paths are.
        mean = torch.where(self.mean_path == 0, paths.detach(), self.mean_path)
        apart = (paths - mean).square()
        weight = self.config.path_length * self.config.path_interval
        seen = {"paths": paths.detach().sum(), "items": paths.new_full((), len(batch))}
        parts = {"path_length": seen["paths"]}
        return Loss(weight * apart.sum(), float(len(batch)), parts, seen)
