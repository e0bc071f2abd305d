"""The style-based generator of StyleGAN2 over one, two or three space axes.

Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN": a mapping network, weight modulation and
demodulation, noise inputs, and outputs added up over resolutions. What differs is said in `StyleGAN`.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._activations import Squash, squash
from miaobi.networks._base import NetworkConfig, SizeTable
from miaobi.networks._heads import require_how
from miaobi.networks._modulated import Mapping, StyledLayer, StyledOutput
from miaobi.networks._noise_inputs import Noises, NoisyNetwork
from miaobi.networks._resampling import coarsest, grow, rungs
from miaobi.types import Field, Form, Size, Spec

_SIZES = SizeTable(width=(8, 16, 64), depth=(2, 4, 8))


class StyleGAN(NoisyNetwork):
    """A generator from a flat latent: `map` to a style, then `synthesise` with one style for each of `layers`.

    Beside the paper: resizing is linear and follows a layer's convolution (a quarter of the arithmetic of convolving
    afterwards), weights start at the variance of their fan-in instead of being scaled as they are used, and a
    condition's vector enters the mapping beside the latent.
    """

    class Config(NetworkConfig):
        """Channels double from ``width`` to at most ``max_width`` with each coarser resolution."""

        width: int = Value(32, ge=1, le=4096, description="channels at the finest resolution")
        max_width: int = Value(256, ge=1, le=8192)
        style: int = Value(128, ge=1, le=8192, description="length of the style")
        mapping: int = Value(8, ge=1, le=64, description="layers from the latent to the style")
        mapping_rate: float = Value(0.1, gt=0, le=1, description="share of the learning rate that the mapping gets")
        kernel: int = Value(3, ge=1, le=31, description="odd extent of the convolutions")
        factor: int = Value(2, ge=2, le=8, description="between neighbouring resolutions")
        output: Squash = "none"

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Wider and coarser-stepping for sound."""
        _check(source, target)
        width, depth = _SIZES.at(size)
        sound = target.dims == 1
        return cls.Config(
            width=width,
            max_width=8 * width,
            style=8 * width,
            mapping=depth,
            kernel=7 if sound else 3,
            factor=4 if sound else 2,
        )

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        _check(source, target)
        super().__init__(config, source, target, conditions)
        spaces = rungs(target.space, coarsest(target.space, config.factor), config.factor) or [target.space]
        channels = [min(config.width * 2**level, config.max_width) for level in range(len(spaces))]
        self.conditioner = self.make_conditioner(config.style)
        require_how("stylegan", self.conditioner, "vector")
        told = config.style if self.conditioner is not None else 0
        self.mapping = Mapping(source.channels, told, config.style, config.mapping, config.mapping_rate)
        self.start = nn.Parameter(torch.randn(1, channels[-1], *spaces[-1]))
        self.spaces = spaces[::-1]
        self.stages, self.outputs = nn.ModuleList(), nn.ModuleList()
        before = channels[-1]
        for space, width in zip(self.spaces, channels[::-1], strict=True):
            name = "x".join(map(str, space))
            pairs = [(before, width), (width, width)] if len(self.stages) else [(before, width)]
            made = (
                StyledLayer(f"{name}:{i}", config.style, a, b, config.kernel, space) for i, (a, b) in enumerate(pairs)
            )
            self.stages.append(nn.ModuleList(made))
            self.outputs.append(StyledOutput(target.dims, config.style, width, target.channels))
            before = width

    @property
    def layers(self) -> int:
        """Styled layers, coarse to fine: how many styles `synthesise` takes."""
        return 2 * len(self.stages) - 1

    @property
    def width(self) -> int:
        """Length of a style."""
        return int(self.config.style)

    def forward(
        self, x: Tensor, conditions: dict[str, Field] | None = None, *, noise: Noises | None = None, **inputs: Any
    ) -> Tensor:
        """``[B, source]`` to ``[B, *target]``; ``noise`` as `NoisyNetwork.noises` says."""
        return self.synthesise(self.map(x, conditions), noise)

    def map(self, z: Tensor, conditions: dict[str, Field] | None = None) -> Tensor:
        """Latents ``[B, source]`` to styles ``[B, width]``."""
        told = None if self.conditioner is None else self.conditioner(conditions, len(z)).vector
        styles: Tensor = self.mapping(z, told)
        return styles

    def synthesise(self, styles: Tensor, noise: Noises | None = None) -> Tensor:
        """Styles ``[B, width]``, or one a layer ``[B, layers, width]``, to ``[B, *target]``."""
        if styles.ndim == 2:
            styles = styles[:, None].expand(-1, self.layers, -1)
        each = iter(styles.unbind(1))
        x = self.start.expand(len(styles), *self.start.shape[1:])
        out = x.new_zeros(len(x), self.target.channels, *self.spaces[0])
        for space, stage, output in zip(self.spaces, self.stages, self.outputs, strict=True):
            style = styles[:, 0]
            for layer in stage:  # type: ignore[attr-defined]
                style = next(each)
                x = layer(x, style, noise)
            out = grow(out, space) + output(x, style)
        return squash(out, self.config.output)


def _check(source: Spec, target: Spec) -> None:
    if source.form is not Form.TENSOR or target.form is not Form.TENSOR:
        raise Unsupported(
            "stylegan maps a flat latent to a tensor with space",
            given=(source.form.value, target.form.value),
            cure="for tokens use transformer, lstm or gru",
        )
    if source.space or not 1 <= target.dims <= 3:
        raise Unsupported(
            "stylegan generates: from a flat latent to a tensor of 1 to 3 space axes",
            given=(source.space, target.space),
            cure="use convolutional or fastgan for a discriminator, mlp for a flat target",
        )
