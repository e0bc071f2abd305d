"""The halves of FastGAN (Liu et al. 2021), and its self-supervised decoders, over one to three space axes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.networks._convolutions import convolution
from miaobi.networks._heads import SMALL, Head, linear
from miaobi.networks._modulated import lifted
from miaobi.networks._noise_inputs import NoiseInput, Noises
from miaobi.networks._resampling import COARSEST, Space, grow, resize, shrink
from miaobi.networks._spectral import SpectralConvolution


class Excitation(nn.Module):
    """Skip-layer excitation: features far away in the network gate each channel, between 0 and 1."""

    def __init__(self, channels: int, outputs: int, space: Space) -> None:
        super().__init__()
        self.pooled = tuple(min(COARSEST, extent) for extent in space)
        self.gather = linear(channels * math.prod(self.pooled), outputs)
        self.gate = linear(outputs, outputs)

    def forward(self, far: Tensor, x: Tensor) -> Tensor:
        """``far [B, channels, *space]`` and ``x [B, outputs, *any]`` to the shape of ``x``."""
        gates = self.gate(lifted(self.gather(resize(far, self.pooled).flatten(1)))).sigmoid()
        return x * gates.unflatten(1, (-1, *[1] * (x.ndim - 2))).to(x.dtype)


class GatedLayer(nn.Module):
    """Convolution, resize, noise where it has a name, group normalisation, gated linear unit.

    Normalised within an item, where the paper normalises over the batch: an item must not depend on its neighbours.
    """

    def __init__(self, channels: int, outputs: int, kernel: int, space: Space, noise: str | None = None) -> None:
        super().__init__()
        self.space = space
        self.convolution = convolve(len(space), channels, 2 * outputs, kernel)
        self.noise = None if noise is None else NoiseInput(noise, space)
        self.norm = nn.GroupNorm(max(1, outputs // 8), 2 * outputs)

    def forward(self, x: Tensor, noises: Noises | None = None) -> Tensor:
        """``[B, channels, *any]`` to ``[B, outputs, *space]``."""
        # Resizing is linear: after the convolution it costs a quarter of the arithmetic.
        x = grow(self.convolution(x), self.space)
        if self.noise is not None:
            x = self.noise(x, noises)
        return F.glu(self.norm(x), 1)


class Grower(nn.Module):
    """The generator: from a flat source to the finest of ``spaces``.

    Args:
        config: kernel.
        source: length of the source.
        spaces: coarsest first, with ``channels`` at each.
        outputs: channels of what is generated.
        gap: levels between the features that excite and those that are excited.
    """

    def __init__(
        self, config: Any, source: int, spaces: Sequence[Space], channels: Sequence[int], outputs: int, gap: int
    ) -> None:
        super().__init__()
        self.spaces, self.gap = list(spaces), gap
        self.start = linear(source, 2 * channels[0] * math.prod(spaces[0]))
        self.stages, self.gates = nn.ModuleList(), nn.ModuleDict()
        for level, (before, width) in enumerate(itertools.pairwise(channels), 1):
            space = self.spaces[level]
            name = "x".join(map(str, space))
            first = GatedLayer(before, width, config.kernel, space, f"{name}:0")
            # Every other resolution gets a second layer, as published, and so does the finest.
            twice = level % 2 or level == len(channels) - 1
            second = [GatedLayer(width, width, config.kernel, space, f"{name}:1")] if twice else []
            self.stages.append(nn.ModuleList([first, *second]))
            if level >= gap:
                self.gates[str(level)] = Excitation(channels[level - gap], width, self.spaces[level - gap])
        self.output = convolve(len(spaces[0]), channels[-1], outputs, config.kernel, SMALL)

    def forward(self, z: Tensor, noises: Noises | None) -> Tensor:
        """``[B, source]`` to ``[B, outputs, *spaces[-1]]``; the last layer is float32."""
        x = F.glu(self.start(z).reshape(len(z), -1, *self.spaces[0]), 1)
        found = [x]
        for level, stage in enumerate(self.stages, 1):
            for layer in stage:  # type: ignore[attr-defined]
                x = layer(x, noises)
            if str(level) in self.gates:
                x = self.gates[str(level)](found[level - self.gap], x)
            found.append(x)
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.output(x.float())
        return out


class Halving(nn.Module):
    """A discriminator's step to a coarser space: the mean of two convolutions on one side and a pooled one beside."""

    def __init__(self, channels: int, outputs: int, kernel: int, factor: int, spaces: tuple[Space, Space]) -> None:
        super().__init__()
        dims = len(spaces[0])
        stride = tuple(factor if old != new else 1 for old, new in zip(*spaces, strict=True))
        whole = (max(kernel, 2 * (factor // 2) + 1),) * dims
        self.first = SpectralConvolution(channels, outputs, whole, stride=stride)
        self.second = SpectralConvolution(outputs, outputs, (kernel,) * dims)
        self.beside = SpectralConvolution(channels, outputs, (1,) * dims)
        self.space, self.factor = spaces[1], factor

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *spaces[0]]`` to ``[B, outputs, *spaces[1]]``."""
        beside = lifted(self.beside(shrink(x, self.space, self.factor)))
        return (lifted(self.second(lifted(self.first(x)))) + beside) * math.sqrt(0.5)


class Examiner(nn.Module):
    """The discriminator: from the finest of ``spaces`` to scores, with its features at every resolution.

    Args:
        config: kernel, factor.
        source: channels of what is judged.
        spaces: finest first, with ``channels`` at each.
        outputs: scores.
        gap: levels between the features that excite and those that are excited.
    """

    def __init__(
        self, config: Any, source: int, spaces: Sequence[Space], channels: Sequence[int], outputs: int, gap: int
    ) -> None:
        super().__init__()
        self.gap = gap
        self.start = SpectralConvolution(source, channels[0], (config.kernel,) * len(spaces[0]))
        self.stages, self.gates = nn.ModuleList(), nn.ModuleDict()
        for level, (pair, around) in enumerate(
            zip(itertools.pairwise(channels), itertools.pairwise(spaces), strict=True), 1
        ):
            self.stages.append(Halving(*pair, config.kernel, config.factor, around))
            if level >= gap:
                self.gates[str(level)] = Excitation(channels[level - gap], pair[1], spaces[level - gap])
        self.last = SpectralConvolution(channels[-1], channels[-1], (1,) * len(spaces[0]))
        self.head = Head(channels[-1], outputs, projection=True)

    def forward(self, x: Tensor, vector: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        """Scores ``[B, outputs]``, and features ``[B, channels[i], *spaces[i]]`` finest first."""
        found = [lifted(self.start(x))]
        for level, stage in enumerate(self.stages, 1):
            x = stage(found[-1])
            if str(level) in self.gates:
                x = self.gates[str(level)](found[level - self.gap], x)
            found.append(x)
        # The published patches' scores are averaged; so is what they are linear in.
        pooled = lifted(self.last(found[-1])).flatten(2).mean(2)
        return self.head(pooled, vector), found


class Decoder(nn.Module):
    """Rebuilds a small picture from features: what it can rebuild, the discriminator has looked at.

    Args:
        channels: of the features.
        spaces: from the features' to the picture's, coarsest first.
        outputs: channels of the picture.
        kernel: extent of the convolutions.
    """

    def __init__(self, channels: int, spaces: Sequence[Space], outputs: int, kernel: int) -> None:
        super().__init__()
        widths = [channels, *(max(outputs, channels // 2 ** (level + 1)) for level in range(1, len(spaces)))]
        pairs = zip(itertools.pairwise(widths), spaces[1:], strict=True)
        self.layers = nn.ModuleList(GatedLayer(*pair, kernel, space) for pair, space in pairs)
        self.output = convolve(len(spaces[0]), widths[-1], outputs, kernel, SMALL)

    def forward(self, features: Tensor) -> Tensor:
        """``[B, channels, *spaces[0]]`` to ``[B, outputs, *spaces[-1]]`` float32."""
        for layer in self.layers:
            features = layer(features)
        with torch.autocast(features.device.type, enabled=False):
            out: Tensor = self.output(features.float())
        return out


def convolve(dims: int, channels: int, outputs: int, kernel: int, scale: float = 1.0) -> nn.Module:
    """A same-size convolution whose weights have variance ``scale ** 2 / fan_in``, biases zero."""
    made = convolution(dims)(channels, outputs, kernel, padding=kernel // 2)
    nn.init.normal_(made.weight, std=scale * made.weight[0].numel() ** -0.5)
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made
