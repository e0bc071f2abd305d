"""The parts of a U-Net: residual blocks, attention, and ways to halve and double the resolution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.networks._convolutions import convolution
from miaobi.networks._denoiser import Signal
from miaobi.networks._full_attention import divisor, full_attention, join_heads, split_heads
from miaobi.networks._resampling import Space, from_patches, to_patches


@dataclass(frozen=True, slots=True)
class Plan:
    """What every block shares.

    Attributes:
        dims: space axes.
        kernel: odd extent of the convolutions.
        groups: of the normalisation, at most.
        style: length of the vector that steers the blocks.
        context: width of a condition sequence; 0 where there is none.
        head_width: channels of an attention head.
        dropout: share of features dropped inside residual blocks.
    """

    dims: int
    kernel: int
    groups: int
    style: int
    context: int
    head_width: int
    dropout: float

    def convolve(self, channels: int, outputs: int, kernel: int | None = None) -> nn.Module:
        """A convolution that keeps the size."""
        kernel = kernel or self.kernel
        return convolution(self.dims)(channels, outputs, kernel, padding=kernel // 2)

    def norm(self, channels: int, *, affine: bool = True) -> nn.GroupNorm:
        """Normalisation over groups of two channels at least: one alone would vanish at a single position."""
        return nn.GroupNorm(divisor(channels, min(self.groups, channels // 2)), channels, affine=affine)


def zeroed(layer: nn.Module) -> nn.Module:
    """``layer`` with all parameters at zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Residual(nn.Module):
    """``skip(x) + conv(act(modulate(norm(conv(act(norm(x)))))))``.

    Modulated by scale and shift after the second normalisation (Dhariwal and Nichol 2021, "Diffusion models beat GANs
    on image synthesis").
    """

    def __init__(self, plan: Plan, channels: int, outputs: int) -> None:
        super().__init__()
        self.before, self.between = plan.norm(channels), plan.norm(outputs, affine=False)
        self.first = plan.convolve(channels, outputs)
        self.second = zeroed(plan.convolve(outputs, outputs))
        self.modulate = zeroed(nn.Linear(plan.style, 2 * outputs))
        self.skip = plan.convolve(channels, outputs, 1) if channels != outputs else nn.Identity()
        self.dropout = nn.Dropout(plan.dropout)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """``[B, channels, *space]`` to ``[B, outputs, *space]``."""
        scale, shift = self.modulate(style).view(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        hidden = self.between(self.first(F.silu(self.before(x))))
        hidden = F.silu(torch.addcmul(shift, hidden, 1 + scale))
        return self.skip(x) + self.second(self.dropout(hidden))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Attention over all positions, with a condition's sequence among the keys (Nichol et al. 2022, "GLIDE")."""

    def __init__(self, plan: Plan, channels: int) -> None:
        super().__init__()
        self.heads = divisor(channels, channels // plan.head_width)
        self.norm = plan.norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.context = nn.Linear(plan.context, 2 * channels, bias=False) if plan.context else None
        self.out = zeroed(nn.Linear(channels, channels))
        self.scale = (channels // self.heads) ** -0.5

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        """``[B, channels, *space]`` to the same."""
        parts = self.qkv(self.norm(x).flatten(2).transpose(1, 2)).chunk(3, -1)
        q, k, v = (split_heads(part, self.heads) for part in parts)
        mask = None
        if self.context is not None and signal.sequence is not None and signal.mask is not None:
            keys, values = (split_heads(part, self.heads) for part in self.context(signal.sequence).chunk(2, -1))
            k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
            mask = F.pad(signal.mask, (0, q.shape[2]), value=True)
        mixed = self.out(join_heads(full_attention(q * self.scale, k, v, mask)))
        return x + mixed.transpose(1, 2).reshape(x.shape)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """A residual block, then attention where the level has it.

    Args:
        joins: channels of the skipped features that are concatenated first; 0 for none.
    """

    def __init__(self, plan: Plan, channels: int, outputs: int, *, attends: bool, joins: int = 0) -> None:
        super().__init__()
        self.joins = joins
        self.block = Residual(plan, channels + joins, outputs)
        self.attention = Attention(plan, outputs) if attends else None

    def forward(self, x: Tensor, signal: Signal) -> Tensor:
        """``[B, channels + joins, *space]`` to ``[B, outputs, *space]``."""
        x = self.block(x, signal.style)
        return x if self.attention is None else self.attention(x, signal)


class PatchDown(nn.Module):
    """Space to depth, then a matrix: ``space`` divided by ``factors``, rounding up."""

    def __init__(self, plan: Plan, channels: int, outputs: int, factors: Space) -> None:
        super().__init__()
        self.factors = factors
        self.project = plan.convolve(channels * math.prod(factors), outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *space]`` to ``[B, outputs, *ceil(space / factors)]``."""
        return self.project(to_patches(x, self.factors))  # type: ignore[no-any-return]


class PatchUp(nn.Module):
    """A matrix, then depth to space, cropped to ``space``."""

    def __init__(self, plan: Plan, channels: int, outputs: int, factors: Space, space: Space) -> None:
        super().__init__()
        self.factors, self.space = factors, space
        self.project = plan.convolve(channels, outputs * math.prod(factors), 1)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *ceil(space / factors)]`` to ``[B, outputs, *space]``."""
        return from_patches(self.project(x), self.factors, self.space)


class StridedDown(nn.Module):
    """A strided convolution, as in DDPM."""

    def __init__(self, plan: Plan, channels: int, factors: Space) -> None:
        super().__init__()
        self.convolve = convolution(plan.dims)(
            channels,
            channels,
            plan.kernel,
            stride=factors,  # type: ignore[arg-type]
            padding=plan.kernel // 2,
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *space]`` to ``[B, channels, *ceil(space / factors)]``."""
        return self.convolve(x)


class NearestUp(nn.Module):
    """Nearest neighbours, then a convolution, as in DDPM."""

    def __init__(self, plan: Plan, channels: int, space: Space) -> None:
        super().__init__()
        self.space = space
        self.convolve = plan.convolve(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *any]`` to ``[B, channels, *space]``."""
        return self.convolve(F.interpolate(x, size=self.space, mode="nearest"))  # type: ignore[no-any-return]


class DownLevel(nn.Module):
    """The layers of one resolution, then the step to a coarser one.

    Args:
        every: skip every result; otherwise the last layer's alone, and nothing at the coarsest level.
    """

    def __init__(self, layers: list[Layer], step: nn.Module | None, *, every: bool) -> None:
        super().__init__()
        self.layers, self.step, self.every = nn.ModuleList(layers), step, every

    def forward(self, x: Tensor, signal: Signal, skips: list[Tensor]) -> Tensor:
        """The features of the next level; what is skipped is appended to ``skips``."""
        for layer in self.layers:
            x = layer(x, signal)
            if self.every:
                skips.append(x)
        if self.step is None:
            return x
        stepped: Tensor = self.step(x)
        skips.append(stepped if self.every else x)
        return stepped


class UpLevel(nn.Module):
    """The layers of one resolution, some of which join what was skipped, then the step to a finer one."""

    def __init__(self, layers: list[Layer], step: nn.Module | None) -> None:
        super().__init__()
        self.layers, self.step = nn.ModuleList(layers), step

    def forward(self, x: Tensor, signal: Signal, skips: list[Tensor]) -> Tensor:
        """The features of the next level; what is joined is taken off the end of ``skips``."""
        for layer in self.layers:
            x = layer(torch.cat([x, skips.pop()], 1) if layer.joins else x, signal)
        return x if self.step is None else self.step(x)
