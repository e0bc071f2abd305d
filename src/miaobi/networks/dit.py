"""A Transformer that denoises patches of sound, images and video (Peebles and Xie 2023, "Scalable diffusion models with
Transformers").

Every block is modulated by adaLN-zero. Positions enter twice, as sines and cosines added to the patches and as axial
rotations of queries and keys (Su et al. 2021, "RoFormer"), so it knows where a patch is and how far others are. A
condition sequence joins the patches and is attended to with them (Bao et al. 2023, "All are worth words").
"""

from __future__ import annotations

import math
from typing import Annotated, Self

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from pydantic import model_validator
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._axes import axial_angles, wave_embedding
from miaobi.networks._base import SizeTable
from miaobi.networks._denoiser import Denoiser, DenoiserConfig, Signal
from miaobi.networks._full_attention import full_attention, join_heads, split_heads
from miaobi.networks._functions import rotate
from miaobi.networks._resampling import Space, from_patches, patched, to_patches
from miaobi.types import Size, Spec

_SIZES = SizeTable(width=(64, 256, 512), depth=(2, 6, 12))
_POSITIONS = {"tiny": 64, "small": 144, "large": 256}


class DiT(Denoiser):
    """See the module. The output starts at zero, and every block as the identity."""

    class Config(DenoiserConfig):
        """Shape and regularisation."""

        width: int = Value(256, ge=8, le=16384)
        depth: int = Value(6, ge=1, le=200)
        heads: int = Value(4, ge=1, le=256)
        patch: Annotated[list[Annotated[int, Value(ge=1, le=4096)]], Value(min_length=1, max_length=3)] = Value(
            [4], description="extent of a patch: one for all axes, or one each"
        )
        inner: int = Value(4, ge=1, le=16, description="width inside the MLP over width")
        rotary_base: float = Value(100.0, gt=1, le=1e9, description="longest wavelength of the rotations, in patches")
        dropout: float = Value(0.0, ge=0, lt=1, description="on the outputs of branches")

        @model_validator(mode="after")
        def _divides(self) -> Self:
            if self.width % (2 * self.heads):
                raise ValueError(f"width {self.width} does not divide into {self.heads} heads of an even width")
            return self

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Patches so large that attention is over few positions, about as many along every axis."""
        cls.require_ports(source, target)
        width, depth = _SIZES.at(size)
        patch = _patch(source.space, _POSITIONS[size])
        return cls.Config(width=width, depth=depth, heads=max(2, width // 64), patch=patch)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions, config.width)
        if len(config.patch) not in (1, source.dims):
            raise Unsupported(
                f"dit's patch has {len(config.patch)} extents, its ports {source.dims} axes",
                given=config.patch,
                cure="give one extent, or one for every axis",
            )
        self.patch = tuple(config.patch) * (source.dims // len(config.patch))
        self.space = patched(source.space, self.patch)
        volume = math.prod(self.patch)
        self.enter = nn.Linear(self.inputs * volume, config.width)
        self.context = nn.Linear(config.width, config.width) if self.takes_sequence else None
        # A single patch that sees only itself needs no attention.
        alone = math.prod(self.space) == 1 and not self.takes_sequence
        self.blocks = nn.ModuleList(_Block(config, attends=not alone) for _ in range(config.depth))
        self.modulate = _zeroed(nn.Linear(config.width, 2 * config.width))
        self.leave = _zeroed(nn.Linear(config.width, target.channels * volume))
        self.positions: Tensor
        self.angles: Tensor
        self.register_buffer("positions", wave_embedding(self.space, config.width), persistent=False)
        angles = axial_angles(self.space, config.width // config.heads, config.rotary_base)
        self.register_buffer("angles", angles, persistent=False)

    def denoise(self, x: Tensor, signal: Signal) -> Tensor:
        x = self.enter(to_patches(x, self.patch).flatten(2).transpose(1, 2)) + self.positions
        given, mask = 0, None
        if self.context is not None and signal.sequence is not None and signal.mask is not None:
            given = signal.sequence.shape[1]
            mask = F.pad(signal.mask, (0, x.shape[1]), value=True)
            x = torch.cat([self.context(signal.sequence).to(x.dtype), x], 1)
        turns = F.pad(self.angles, (0, 0, given, 0))
        turns_by = turns.cos().to(x.dtype), turns.sin().to(x.dtype)
        for block in self.blocks:
            x = block(x, signal.style, turns_by, mask)
        scale, shift = self.modulate(signal.style)[:, None].chunk(2, -1)
        hidden = torch.addcmul(shift, _norm(x[:, given:]), 1 + scale)
        with torch.autocast(x.device.type, enabled=False):
            out = self.leave(hidden.float()).transpose(1, 2).unflatten(2, self.space)
        return from_patches(out, self.patch, self.target.space)


class _Block(nn.Module):
    """``x + gate * attention(modulate(norm(x)))``, then the same with an MLP; gates start at zero."""

    def __init__(self, config: DiT.Config, *, attends: bool) -> None:
        super().__init__()
        width, inner = config.width, config.inner * config.width
        self.attention = _Attention(width, config.heads) if attends else None
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(approximate="tanh"), nn.Linear(inner, width))
        self.modulate = _zeroed(nn.Linear(width, (6 if attends else 3) * width))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, style: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """``[B, L, width]`` to the same."""
        scale, shift, gate, *rest = self.modulate(style)[:, None].chunk(3 if self.attention is None else 6, -1)
        if self.attention is not None:
            mixed = self.attention(torch.addcmul(shift, _norm(x), 1 + scale), turns, mask)
            x = torch.addcmul(x, gate, self.dropout(mixed))
            scale, shift, gate = rest
        hidden = self.mlp(torch.addcmul(shift, _norm(x), 1 + scale))
        return torch.addcmul(x, gate, self.dropout(hidden))


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        q, k, v = (split_heads(part, self.heads) for part in self.qkv(x).chunk(3, -1))
        q, k = rotate(q * self.scale, *turns), rotate(k, *turns)
        return self.out(join_heads(full_attention(q, k, v, mask)))  # type: ignore[no-any-return]


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6)


def _zeroed(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _patch(space: Space, positions: int) -> list[int]:
    """Powers of two, one an axis, that leave at most so many positions: the longest axes are halved first."""
    patch = [1] * len(space)
    while math.prod(left := patched(space, patch)) > positions:
        patch = [size * 2 if extent == max(left) else size for size, extent in zip(patch, left, strict=True)]
    return patch
