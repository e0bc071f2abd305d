"""A residual convolutional network between a flat vector and a tensor with space, or between two such tensors.

The generator, discriminator, encoder and decoder of sound (1-D), images (2-D) and video (3-D), in the plain modern
form of R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN!"): residual blocks, no normalisation.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._activations import Activation, Squash, squash
from miaobi.networks._base import Network, NetworkConfig, SizeTable
from miaobi.networks._heads import SMALL, Head, linear, require_how
from miaobi.networks._resampling import (
    Space,
    coarsest,
    from_patches,
    patch_factors,
    patched,
    rungs,
    to_patches,
)
from miaobi.networks._residual import Down, Pyramid, Up
from miaobi.types import Condition, Field, Form, Size, Spec

_SIZES = SizeTable(width=(8, 16, 64), depth=(1, 1, 2))


class Convolutional(Network):
    """A pyramid of residual blocks, whichever way round the ports ask for.

    A flat source starts at the coarsest resolution and modulates every block; a flat target is read from the coarsest.
    Equal spaces go down and up with skips; unequal spaces must be some powers of ``factor`` apart. Conditions enter by
    modulation, as maps added at every resolution, or (``projection``) by an inner product at the score (Miyato and
    Koyama 2018, "cGANs with projection discriminator").
    """

    class Config(NetworkConfig):
        """Channels double from ``width`` to at most ``max_width`` with each coarser resolution."""

        width: int = Value(32, ge=1, le=4096, description="channels at the finest resolution")
        max_width: int = Value(256, ge=1, le=8192)
        blocks: int = Value(1, ge=1, le=64, description="residual blocks at each resolution")
        kernel: int = Value(3, ge=1, le=31, description="odd extent of the convolutions")
        factor: int = Value(2, ge=2, le=8, description="between neighbouring resolutions")
        patch: int = Value(1, ge=1, le=16, description="space-to-depth at the fine end: faster, coarser blocks")
        style: int = Value(128, ge=1, le=8192, description="length of the vector that modulates the blocks")
        activation: Activation = "leaky_relu"
        slope: float = Value(0.2, ge=0, le=1, description="of leaky_relu, below zero")
        output: Squash = "none"
        projection: bool = Value(False, description="conditions enter by an inner product with the last features")

    lays_over = True

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Wider and coarser-stepping for sound; conditions by projection where the target is one score."""
        fine = _fine_end(source, target)
        width, depth = _SIZES.at(size)
        sound = len(fine) == 1
        shared = bool(source.space and target.space)
        # Patches are quick to read, but a generator that writes them leaves a grid.
        whole = shared or max(fine) < 16 or (not source.space and max(fine) <= 32)
        return cls.Config(
            width=width,
            max_width=8 * width,
            blocks=depth,
            kernel=7 if sound else 3,
            factor=4 if sound and not shared else 2,
            patch=1 if whole else 4 if sound else 2,
            style=4 * width,
            projection=target.size == 1 and bool(conditions),
        )

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        fine = _fine_end(source, target)
        self.patch = patch_factors(fine, config.patch)
        spaces = _spaces(config, source, target, patched(fine, self.patch))
        channels = [min(config.width * 2**level, config.max_width) for level in range(len(spaces))]
        features = channels[-1] if config.projection else config.style
        self.conditioner = self.make_conditioner(features)
        require_how("convolutional", self.conditioner, "vector", "spatial")
        vectors = self.conditioner is not None and "vector" in self.conditioner.how.values()
        self.pyramid = Pyramid(
            spaces=spaces,
            channels=channels,
            blocks=config.blocks,
            kernel=config.kernel,
            factor=config.factor,
            activation=config.activation,
            slope=config.slope,
            style=config.style if not source.space or (vectors and not config.projection) else 0,
            spatial=self.conditioner.spatial_channels() if self.conditioner is not None else 0,
        )
        self.activation = self.pyramid.activate()
        self._make_source()
        self._make_target()

    def forward(self, x: Tensor, conditions: dict[str, Field] | None = None, **inputs: Any) -> Tensor:
        """``[B, *source]`` to ``[B, *target]``."""
        condition = Condition() if self.conditioner is None else self.conditioner(conditions, len(x))
        vector = condition.vector if self.config.projection else None
        style = None if self.config.projection else condition.vector
        if self.embed is not None:
            flat = self.embed(x.flatten(1))
            style = self.activation(flat if style is None else flat + style)
            start = self.start(style).reshape(len(x), -1, *self.pyramid.spaces[-1])
        else:
            start = self.start(to_patches(x, self.patch) if self.down is not None else x)
        skips = [] if self.down is None else self.down(start, style, condition.spatial)
        features = skips[-1] if skips else start
        if self.up is not None:
            features = self.up(features, style, condition.spatial, skips[:-1])
        return squash(self._finish(features, vector), self.config.output)

    def _make_source(self) -> None:
        pyramid, config, source = self.pyramid, self.config, self.source
        self.embed: nn.Module | None = None
        self.start: nn.Module
        if not source.space:
            volume = math.prod(pyramid.spaces[-1])
            self.embed = linear(source.channels, config.style)
            self.start = linear(config.style, pyramid.channels[-1] * volume)
        elif self._goes_down():
            self.start = pyramid.convolve(
                source.channels * math.prod(self.patch), pyramid.channels[0], kernel=config.kernel
            )
        else:
            self.start = pyramid.convolve(source.channels, pyramid.channels[-1], kernel=config.kernel)
        self.down = Down(pyramid) if self._goes_down() else None

    def _make_target(self) -> None:
        pyramid, config, target = self.pyramid, self.config, self.target
        self.up = Up(pyramid) if self._goes_up() else None
        self.gather: nn.Module | None = None
        self.head: nn.Module
        if not target.space:
            features = pyramid.channels[-1]
            self.gather = linear(features * math.prod(pyramid.spaces[-1]), features)
            self.head = Head(features, target.channels, projection=config.projection)
        elif self.up is not None:
            outputs = target.channels * math.prod(self.patch)
            self.head = pyramid.convolve(pyramid.channels[0], outputs, kernel=config.kernel, scale=SMALL)
        else:
            self.head = pyramid.convolve(pyramid.channels[-1], target.channels, kernel=config.kernel, scale=SMALL)

    def _finish(self, features: Tensor, vector: Tensor | None) -> Tensor:
        hidden = self.activation(features)
        if self.gather is not None:
            return self.head(self.activation(self.gather(hidden.flatten(1))), vector)  # type: ignore[no-any-return]
        with torch.autocast(hidden.device.type, enabled=False):
            out: Tensor = self.head(hidden.float())
        return from_patches(out, self.patch, self.target.space) if self.up is not None else out

    def _goes_down(self) -> bool:
        return bool(self.source.space) and self.source.space >= self.target.space

    def _goes_up(self) -> bool:
        return bool(self.target.space) and self.target.space >= self.source.space


def _fine_end(source: Spec, target: Spec) -> Space:
    """The finer port's space.

    Raises:
        Unsupported: neither port has space, or they disagree on the number of axes.
    """
    for port, spec in (("source", source), ("target", target)):
        if spec.form is not Form.TENSOR or spec.dims > 3:
            raise Unsupported(
                f"convolutional maps tensors of up to 3 space axes, its {port} is not one",
                given=spec.to_json(),
                cure="for tokens use transformer, lstm or gru",
            )
    if not source.space and not target.space:
        raise Unsupported("convolutional needs a port with space", given=(source.size, target.size), cure="use mlp")
    if source.space and target.space and source.dims != target.dims:
        raise Unsupported(
            "convolutional needs as many space axes at both ports", given=(source.space, target.space), cure="use mlp"
        )
    return max(source.space, target.space)


def _spaces(config: Any, source: Spec, target: Spec, fine: Space) -> list[Space]:
    """Resolutions from ``fine`` (after patching) to the coarse end, finest first."""
    spatial = source.space and target.space and source.space != target.space
    coarse = min(source.space, target.space) if spatial else coarsest(fine, config.factor)
    found = rungs(fine, coarse, config.factor)
    if found is None:
        raise Unsupported(
            f"convolutional cannot get from {fine} to {coarse} by dividing by {config.factor}",
            given=(source.space, target.space),
            cure="choose another factor or patch, or ports a power of the factor apart",
        )
    return found
