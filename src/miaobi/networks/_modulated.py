"""Layers that a style modulates (Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN")."""

from __future__ import annotations

import itertools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.networks._convolutions import convolve
from miaobi.networks._heads import SMALL, linear
from miaobi.networks._noise_inputs import NoiseInput, Noises
from miaobi.networks._resampling import Space, grow

_EPS = 1e-8
_SLOPE = 0.2


def lifted(x: Tensor) -> Tensor:
    """Leaky ReLU of slope 0.2, scaled to keep the variance of normal inputs."""
    return F.leaky_relu(x, _SLOPE) * math.sqrt(2 / (1 + _SLOPE**2))


class Mapping(nn.Module):
    """From a normal latent, and a condition's vector beside it, to a style.

    Args:
        source: length of the latent.
        told: length of the condition's vector; 0 for none.
        width: of the style and of every layer.
        depth: layers.
        rate: what the layers' learning rate is multiplied by.
    """

    def __init__(self, source: int, told: int, width: int, depth: int, rate: float) -> None:
        super().__init__()
        widths = [source + told, *[width] * depth]
        self.layers = nn.ModuleList(linear(a, b, 1 / rate) for a, b in itertools.pairwise(widths))
        # Adam's steps have one size whatever a weight's: large weights scaled down again learn slowly.
        self.rate, self.told = rate, told

    def forward(self, z: Tensor, vector: Tensor | None) -> Tensor:
        """``[B, source]`` and ``[B, told]`` to ``[B, width]``; only the direction of ``z`` counts."""
        hidden = z * (z.square().mean(1, keepdim=True) + _EPS).rsqrt()
        if vector is not None:
            # Embeddings have unit length; the latent has unit variance.
            hidden = torch.cat([hidden, vector * math.sqrt(self.told)], 1)
        for layer in self.layers:
            hidden = lifted(layer(hidden) * self.rate)
        return hidden


class Modulated(nn.Module):
    """A convolution whose input channels each item's style scales, its outputs scaled back to unit variance.

    Scaling activations on both sides of one shared convolution equals scaling its weights item by item.
    """

    def __init__(
        self, dims: int, style: int, channels: int, outputs: int, kernel: int, *, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.affine = linear(style, channels)
        nn.init.ones_(self.affine.bias)
        scale = 1.0 if demodulate else SMALL
        fan_in = channels * kernel**dims
        self.weight = nn.Parameter(scale * fan_in**-0.5 * torch.randn(outputs, channels, *[kernel] * dims))
        self.bias = nn.Parameter(torch.zeros(outputs, *[1] * dims))
        self.demodulate = demodulate
        self.convolve = convolve(dims)
        self.padding = kernel // 2

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """``[B, channels, *space]`` and ``[B, style]`` to ``[B, outputs, *space]``, without the bias."""
        flat = (-1, *[1] * (x.ndim - 2))
        with torch.autocast(x.device.type, enabled=False):
            scale: Tensor = self.affine(style.float())
            powers = self.weight.float().square().flatten(2).sum(2)
            norm = (scale.square() @ powers.T + _EPS).rsqrt() if self.demodulate else None
        out: Tensor = self.convolve(x * scale.unflatten(1, flat).to(x.dtype), self.weight, padding=self.padding)
        return out if norm is None else out * norm.unflatten(1, flat).to(out.dtype)


class StyledLayer(nn.Module):
    """Modulated convolution, resize, noise, bias, activation."""

    def __init__(self, name: str, style: int, channels: int, outputs: int, kernel: int, space: Space) -> None:
        super().__init__()
        self.space = space
        self.convolution = Modulated(len(space), style, channels, outputs, kernel)
        self.noise = NoiseInput(name, space)

    def forward(self, x: Tensor, style: Tensor, noises: Noises | None) -> Tensor:
        """``[B, channels, *any]`` to ``[B, outputs, *space]``."""
        x = grow(self.convolution(x, style), self.space)
        return lifted(self.noise(x, noises) + self.convolution.bias)


class StyledOutput(nn.Module):
    """Features of one resolution as an addition to what is generated; float32."""

    def __init__(self, dims: int, style: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.convolution = Modulated(dims, style, channels, outputs, 1, demodulate=False)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """``[B, channels, *space]`` to ``[B, outputs, *space]``."""
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.convolution(x.float(), style) + self.convolution.bias
        return out
