"""Positions along one, two or three axes, for attention."""

from __future__ import annotations

import torch
from torch import Tensor

from miaobi.networks._resampling import Space


def axial_angles(space: Space, width: int, base: float) -> Tensor:
    """Angles ``[prod(space), width / 2]`` of rotary positions: the pairs are shared out over the axes.

    Frequencies of an axis fall from 1 to ``1 / base`` radians a position.
    """
    pairs, axes = width // 2, len(space)
    counts = [pairs // axes + (axis < pairs % axes) for axis in range(axes)]
    parts = []
    for places, count in zip(_grid(space), counts, strict=True):
        frequencies = base ** -(torch.arange(count) / max(1, count))
        parts.append(places[:, None] * frequencies)
    return torch.cat(parts, 1)


def wave_embedding(space: Space, width: int) -> Tensor:
    """``[prod(space), width]`` fixed: sines and cosines of every axis (Vaswani et al. 2017), then zeros."""
    count = width // (2 * len(space))
    frequencies = 10000.0 ** -(torch.arange(count) / max(1, count))
    waves = [function(places[:, None] * frequencies) for places in _grid(space) for function in (torch.sin, torch.cos)]
    made = torch.cat(waves, 1)
    return torch.nn.functional.pad(made, (0, width - made.shape[1]))


def _grid(space: Space) -> list[Tensor]:
    """Coordinates along every axis of all positions, in order, ``[prod(space)]`` each."""
    axes = torch.meshgrid(*(torch.arange(extent, dtype=torch.float32) for extent in space), indexing="ij")
    return [axis.flatten() for axis in axes]
