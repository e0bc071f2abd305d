"""Changing resolution along one, two or three space axes of any extent."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

Space = tuple[int, ...]
COARSEST = 4
"""Extents at which a pyramid that ends in a flat vector stops."""


def coarsest(space: Space, factor: int) -> Space:
    """Where dividing by ``factor``, rounding up, first brings every extent to `COARSEST` or less."""
    while max(space) > COARSEST:
        space = tuple(-(-extent // factor) if extent > COARSEST else extent for extent in space)
    return space


def rungs(fine: Space, coarse: Space, factor: int) -> list[Space] | None:
    """Resolutions from ``fine`` down to ``coarse``, both included; ``None`` where dividing never gets there.

    An axis that has arrived waits for the others, so long thin items stay whole along their short axes.
    """
    found = [fine]
    while found[-1] != coarse:
        step = tuple(-(-e // factor) if e > end else e for e, end in zip(found[-1], coarse, strict=True))
        if step == found[-1]:
            return None
        found.append(step)
    return found


def shrink(x: Tensor, space: Space, factor: int) -> Tensor:
    """Average-pool to ``space``, each axis either unchanged or divided by ``factor`` rounding up."""
    kernel = [factor if old != new else 1 for old, new in zip(x.shape[2:], space, strict=True)]
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(space) - 1]
    return pool(x, kernel, ceil_mode=True)  # type: ignore[operator, no-any-return]


def grow(x: Tensor, space: Space) -> Tensor:
    """Linear resize to ``space``: nearest neighbours leave a grid in what is generated."""
    mode = ("linear", "bilinear", "trilinear")[len(space) - 1]
    return x if x.shape[2:] == space else F.interpolate(x, size=space, mode=mode, align_corners=False)


def resize(x: Tensor, space: Space) -> Tensor:
    """Area-average resize of ``[B, C, *any]`` to ``space``, larger or smaller."""
    pool = (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[len(space) - 1]
    return x if x.shape[2:] == space else pool(x, space)  # type: ignore[arg-type]


def patch_factors(space: Space, patch: int) -> Space:
    """``patch`` along the axes that are long enough to be divided."""
    return tuple(patch if extent > COARSEST else 1 for extent in space)


def patched(space: Space, factors: Sequence[int]) -> Space:
    """Extents after `to_patches`."""
    return tuple(-(-extent // factor) for extent, factor in zip(space, factors, strict=True))


def to_patches(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Space to depth: ``[B, C, *space]`` to ``[B, C * prod(factors), *ceil(space / factors)]``, zero-padded."""
    if math.prod(factors) == 1:
        return x
    space = patched(tuple(x.shape[2:]), factors)
    short = [s * f - e for s, f, e in zip(space, factors, x.shape[2:], strict=True)]
    if any(short):
        x = F.pad(x, [number for missing in reversed(short) for number in (0, missing)])
    x = x.reshape(*x.shape[:2], *(n for pair in zip(space, factors, strict=True) for n in pair))
    dims = len(space)
    order = [0, 1, *(3 + 2 * axis for axis in range(dims)), *(2 + 2 * axis for axis in range(dims))]
    return x.permute(order).reshape(x.shape[0], -1, *space)


def from_patches(x: Tensor, factors: Sequence[int], space: Space) -> Tensor:
    """The inverse of `to_patches`, cropped to ``space``."""
    if math.prod(factors) == 1:
        return x
    dims, coarse = len(factors), x.shape[2:]
    x = x.reshape(x.shape[0], -1, *factors, *coarse)
    order = [0, 1, *(n for axis in range(dims) for n in (2 + dims + axis, 2 + axis))]
    x = x.permute(order).reshape(x.shape[0], -1, *(s * f for s, f in zip(coarse, factors, strict=True)))
    for axis, extent in enumerate(space):
        x = x.narrow(2 + axis, 0, extent)
    return x
