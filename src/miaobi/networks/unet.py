"""A U-Net that denoises sound, images and video (Ronneberger, Fischer and Brox 2015, "U-Net"; as a denoiser, Ho, Jain
and Abbeel 2020, "Denoising diffusion probabilistic models").

The default works on patches of the space at the fine end and steps between resolutions by rearranging space into
channels (Shi et al. 2016, "Real-time single image super-resolution using an efficient sub-pixel CNN"), which spends the
arithmetic where matrix products are wide; ``patch: 1, skips: block, resample: strided, middle: 2`` is
DDPM's topology.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from pydantic import model_validator
from torch import Tensor, nn

from miaobi.networks._base import SizeTable
from miaobi.networks._denoiser import Denoiser, DenoiserConfig, Signal
from miaobi.networks._resampling import Space, from_patches, patch_factors, patched, to_patches
from miaobi.networks._unet_blocks import (
    DownLevel,
    Layer,
    NearestUp,
    PatchDown,
    PatchUp,
    Plan,
    StridedDown,
    UpLevel,
    zeroed,
)
from miaobi.types import Size, Spec

_SIZES = SizeTable(width=(16, 64, 128), depth=(1, 2, 3))
_COARSE = 64
"""Positions at which a preset stops dividing."""


class UNet(Denoiser):
    """See the module. The output starts at zero; time and vector conditions modulate every block."""

    class Config(DenoiserConfig):
        """Levels, finest first; an axis of 4 or less is not divided further."""

        channels: Annotated[list[Annotated[int, Value(ge=4, le=8192)]], Value(min_length=1, max_length=12)] = [64, 128]
        blocks: int = Value(2, ge=1, le=32, description="residual blocks a level, on the way down and on the way up")
        middle: int = Value(1, ge=1, le=32, description="residual blocks between the two ways; the first may attend")
        patch: int = Value(2, ge=1, le=64, description="space-to-depth at the fine end")
        factor: int = Value(2, ge=2, le=8, description="between neighbouring levels")
        kernel: int = Value(3, ge=1, le=31, description="odd extent of the convolutions")
        groups: int = Value(8, ge=1, le=256, description="of the normalisation, at most")
        attention: int = Value(64, ge=0, le=16384, description="levels of at most this many positions attend")
        head_width: int = Value(64, ge=1, le=1024, description="channels of an attention head, at least")
        style: int = Value(256, ge=8, le=8192, description="length of the vector of time and conditions")
        skips: Literal["level", "block"] = Value(
            "level", description="what the way up takes: the last of a level, or all"
        )
        resample: Literal["patch", "strided"] = Value("patch", description="between levels: rearranged, or convolved")
        dropout: float = Value(0.0, ge=0, lt=1, description="inside residual blocks")

        @model_validator(mode="after")
        def _odd(self) -> Self:
            if self.kernel % 2 == 0:
                raise ValueError(f"kernel {self.kernel} is even; it has no centre")
            return self

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Channels double until few positions are left; sound is patched more and steps by 4."""
        cls.require_ports(source, target)
        width, blocks = _SIZES.at(size)
        # A convolution over three axes costs three times as much, and runs over more positions.
        width = width // 2 if source.dims == 3 else width
        sound = source.dims == 1
        patch, factor = _patch(source.space), 4 if sound else 2
        # Noise cannot be foretold from fewer channels than a patch has numbers: all of them have to pass.
        width = max(width, source.channels * math.prod(patch_factors(source.space, patch)))
        space, levels = patched(source.space, patch_factors(source.space, patch)), 1
        while (levels == 1 or math.prod(space) > _COARSE) and max(patch_factors(space, factor)) > 1:
            space, levels = patched(space, patch_factors(space, factor)), levels + 1
        return cls.Config(
            channels=[width * 2 ** min(level, 2) for level in range(levels)],
            blocks=blocks,
            patch=patch,
            factor=factor,
            kernel=5 if sound else 3,
            style=4 * width,
        )

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions, config.style)
        self.plan = Plan(
            dims=source.dims,
            kernel=config.kernel,
            groups=config.groups,
            style=config.style,
            context=config.style if self.takes_sequence else 0,
            head_width=config.head_width,
            dropout=config.dropout,
        )
        self.patch = patch_factors(source.space, config.patch)
        self.spaces = [patched(source.space, self.patch)]
        for _ in config.channels[1:]:
            self.spaces.append(patched(self.spaces[-1], patch_factors(self.spaces[-1], config.factor)))
        fine, patches = config.channels[0], math.prod(self.patch)
        self.enter = self.plan.convolve(self.inputs * patches, fine)
        skipped = self._make_down()
        self._make_middle()
        self._make_up(skipped)
        self.norm = self.plan.norm(fine)
        self.leave = zeroed(self.plan.convolve(fine, target.channels * patches))

    def denoise(self, x: Tensor, signal: Signal) -> Tensor:
        x = self.enter(to_patches(x, self.patch))
        skips = [x] if self.config.skips == "block" else []
        for level in self.down:
            x = level(x, signal, skips)
        for layer in self.middle:
            x = layer(x, signal)
        for level in self.up:
            x = level(x, signal, skips)
        hidden = F.silu(self.norm(x))
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.leave(hidden.float())
        return from_patches(out, self.patch, self.target.space)

    def _attends(self, level: int) -> bool:
        """Attention to itself alone does nothing at a single position."""
        positions = math.prod(self.spaces[level])
        return positions <= self.config.attention and (positions > 1 or self.takes_sequence)

    def _make_down(self) -> list[int]:
        """Makes the way down; the channels of what it skips, in order."""
        channels, every = self.config.channels, self.config.skips == "block"
        self.down, skipped = nn.ModuleList(), [channels[0]] if every else []
        incoming = channels[0]
        for level, width in enumerate(channels):
            widths = [incoming] + [width] * (self.config.blocks - 1)
            layers = [Layer(self.plan, before, width, attends=self._attends(level)) for before in widths]
            incoming, step = self._step_down(level)
            self.down.append(DownLevel(layers, step, every=every))
            last = step is None
            skipped += [width] * (self.config.blocks + (not last)) if every else [width] * (not last)
        return skipped

    def _make_middle(self) -> None:
        width, last = self.config.channels[-1], len(self.spaces) - 1
        attends = self._attends(last) or self.takes_sequence
        self.middle = nn.ModuleList(
            Layer(self.plan, width, width, attends=attends and index == 0) for index in range(self.config.middle)
        )

    def _make_up(self, skipped: list[int]) -> None:
        channels, every = self.config.channels, self.config.skips == "block"
        self.up = nn.ModuleList()
        incoming = channels[-1]
        for level in range(len(channels) - 1, -1, -1):
            layers = []
            for index in range(self.config.blocks + every):
                joins = skipped.pop() if every or (index == 0 and level + 1 < len(channels)) else 0
                layers.append(Layer(self.plan, incoming, channels[level], attends=self._attends(level), joins=joins))
                incoming = channels[level]
            incoming, step = self._step_up(level)
            self.up.append(UpLevel(layers, step))

    def _step_down(self, level: int) -> tuple[int, nn.Module | None]:
        """From a level to the next coarser, with the channels that come out."""
        channels = self.config.channels
        if level + 1 == len(channels):
            return channels[level], None
        factors = patch_factors(self.spaces[level], self.config.factor)
        if self.config.resample == "strided":
            return channels[level], StridedDown(self.plan, channels[level], factors)
        return channels[level + 1], PatchDown(self.plan, channels[level], channels[level + 1], factors)

    def _step_up(self, level: int) -> tuple[int, nn.Module | None]:
        """From a level to the next finer, with the channels that come out."""
        channels = self.config.channels
        if level == 0:
            return channels[0], None
        space = self.spaces[level - 1]
        factors = patch_factors(space, self.config.factor)
        if self.config.resample == "strided":
            return channels[level], NearestUp(self.plan, channels[level], space)
        return channels[level - 1], PatchUp(self.plan, channels[level], channels[level - 1], factors, space)


def _patch(space: Space) -> int:
    """How much the fine end of a preset is patched: enough that it has some hundreds of positions along an axis."""
    extent = max(space)
    if len(space) == 1:
        return max(1, min(16, 2 ** int(math.log2(max(1, extent // 64)))))
    return 1 if extent < 16 else 2 if extent < 128 else 4
