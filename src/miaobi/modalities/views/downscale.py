"""A coarser copy of the target, brought back to its size: what super-resolution starts from."""

from __future__ import annotations

import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor

from miaobi.modalities.views._base import View
from miaobi.types import Settings

_SMOOTH = {1: "linear", 2: "bicubic", 3: "trilinear"}


class Downscale(View):
    """Averages over ``factor`` along each space axis, then interpolates back (bicubic for images, else linear)."""

    class Config(Settings):
        """How much coarser."""

        factor: int = Value(2, ge=2, le=64)

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        space = values.shape[2:]
        coarse = F.interpolate(values, [max(1, round(extent / self.config.factor)) for extent in space], mode="area")
        return F.interpolate(coarse, list(space), mode=_SMOOTH[len(space)], align_corners=False).clamp(-1, 1)
