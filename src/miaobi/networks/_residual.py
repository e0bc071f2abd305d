"""A pyramid of residual blocks without normalisation, over one, two or three space axes.

Each block's last convolution starts at zero and the first is scaled down with depth (Zhang, Dauphin and Ma 2019,
"Fixup initialization"), as in R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN!").
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from miaobi.networks._activations import Activation, activation, gain
from miaobi.networks._convolutions import convolution
from miaobi.networks._resampling import Space, grow, resize, shrink


@dataclass(frozen=True, slots=True)
class Pyramid:
    """What every stage of a network shares.

    Attributes:
        spaces: resolutions, finest first.
        channels: at each resolution.
        blocks: residual blocks at each resolution.
        kernel: odd extent of the convolutions along every axis.
        factor: between neighbouring resolutions.
        style: length of the modulating vector; 0 for none.
        spatial: channels of the spatial condition; 0 for none.
    """

    spaces: Sequence[Space]
    channels: Sequence[int]
    blocks: int
    kernel: int
    factor: int
    activation: Activation
    slope: float
    style: int
    spatial: int

    @property
    def dims(self) -> int:
        """Number of space axes."""
        return len(self.spaces[0])

    def convolve(self, channels: int, outputs: int, *, kernel: int = 1, scale: float = 1.0) -> nn.Module:
        """A same-size convolution whose weights have variance ``scale ** 2 / fan_in``, biases zero."""
        made = convolution(self.dims)(channels, outputs, kernel, padding=kernel // 2)
        nn.init.normal_(made.weight, std=scale * made.weight[0].numel() ** -0.5)
        if made.bias is not None:
            nn.init.zeros_(made.bias)
        return made

    def activate(self) -> nn.Module:
        """A fresh activation."""
        return activation(self.activation, self.slope)


class Block(nn.Module):
    """``x + conv(act(modulate(conv(act(x)))))``."""

    def __init__(self, pyramid: Pyramid, channels: int) -> None:
        super().__init__()
        depth = pyramid.blocks * len(pyramid.spaces)
        scale = gain(pyramid.activation, pyramid.slope)
        self.first = pyramid.convolve(channels, channels, kernel=pyramid.kernel, scale=scale * depth**-0.25)
        self.second = pyramid.convolve(channels, channels, kernel=pyramid.kernel, scale=0.0)
        self.modulate = nn.Linear(pyramid.style, 2 * channels) if pyramid.style else None
        self.activation = pyramid.activate()
        if self.modulate is not None:
            nn.init.zeros_(self.modulate.weight)
            nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        """``[B, C, *space]``, modulated by ``style [B, style]`` (Perez et al. 2018, "FiLM")."""
        hidden: Tensor = self.first(self.activation(x))
        if self.modulate is not None and style is not None:
            scale, shift = self.modulate(style).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
            hidden = hidden * (1 + scale) + shift
        return x + self.second(self.activation(hidden))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """The blocks of one resolution, after the spatial condition has been added."""

    def __init__(self, pyramid: Pyramid, level: int) -> None:
        super().__init__()
        channels = pyramid.channels[level]
        self.space = tuple(pyramid.spaces[level])
        self.inject = pyramid.convolve(pyramid.spatial, channels) if pyramid.spatial else None
        self.blocks = nn.ModuleList(Block(pyramid, channels) for _ in range(pyramid.blocks))

    def forward(self, x: Tensor, style: Tensor | None, spatial: Tensor | None) -> Tensor:
        """``[B, C, *space]`` to the same."""
        if self.inject is not None and spatial is not None:
            x = x + self.inject(resize(spatial, self.space))
        for block in self.blocks:
            x = block(x, style)
        return x


class Down(nn.Module):
    """From the finest resolution to the coarsest; gives every resolution's features, finest first."""

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        self.spaces, self.factor = list(pyramid.spaces), pyramid.factor
        self.stages = nn.ModuleList(Stage(pyramid, level) for level in range(len(pyramid.spaces)))
        pairs = itertools.pairwise(pyramid.channels)
        self.widen = nn.ModuleList(pyramid.convolve(fine, coarse) for fine, coarse in pairs)

    def forward(self, x: Tensor, style: Tensor | None, spatial: Tensor | None) -> list[Tensor]:
        """``[B, channels[i], *spaces[i]]`` for every i."""
        found = [self.stages[0](x, style, spatial)]
        for level, widen in enumerate(self.widen, 1):
            smaller = widen(shrink(found[-1], self.spaces[level], self.factor))
            found.append(self.stages[level](smaller, style, spatial))
        return found


class Up(nn.Module):
    """From the coarsest resolution to the finest, adding skipped features where there are any."""

    def __init__(self, pyramid: Pyramid) -> None:
        super().__init__()
        levels = range(len(pyramid.spaces) - 1, -1, -1)
        self.spaces = list(pyramid.spaces)
        self.stages = nn.ModuleList(Stage(pyramid, level) for level in levels)
        self.narrow = nn.ModuleList(
            pyramid.convolve(pyramid.channels[level + 1], pyramid.channels[level])
            for level in levels
            if level + 1 in levels
        )

    def forward(self, x: Tensor, style: Tensor | None, spatial: Tensor | None, skips: Sequence[Tensor] = ()) -> Tensor:
        """``[B, channels[-1], *spaces[-1]]`` to ``[B, channels[0], *spaces[0]]``."""
        x = self.stages[0](x, style, spatial)
        for index, narrow in enumerate(self.narrow, 1):
            level = len(self.spaces) - 1 - index
            x = grow(narrow(x), self.spaces[level])
            if skips:
                x = x + skips[level]
            x = self.stages[index](x, style, spatial)
        return x
