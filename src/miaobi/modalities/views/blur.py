"""The target out of focus: what deblurring starts from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor

from miaobi.modalities.views._base import View
from miaobi.sampling.noise import uniform
from miaobi.types import Settings

_REACH = 3
"""Standard deviations of the kernel that are kept."""


class Blur(View):
    """A Gaussian along every space axis, each item with its own standard deviation up to ``sigma``."""

    class Config(Settings):
        """How far out of focus."""

        sigma: float = Value(1.5, gt=0, le=64, description="largest standard deviation, in grid points")

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        sigma = self.config.sigma * (0.5 + 0.5 * uniform(seeds, "blur:sigma"))
        reach = max(1, round(_REACH * self.config.sigma))
        at = torch.arange(-reach, reach + 1, device=values.device)
        kernel = torch.exp(-0.5 * (at[None] / sigma[:, None]).square())
        kernel = kernel / kernel.sum(1, keepdim=True)
        for axis in range(2, values.ndim):
            values = _along(values, kernel, axis)
        return values


def _along(values: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Each item of ``values [B, ...]`` convolved with its row of ``kernel [B, K]`` along an axis, edges repeated."""
    lines = values.movedim(axis, -1)
    rows = lines.reshape(1, len(values), -1, lines.shape[-1])
    reach = kernel.shape[1] // 2
    padded = F.pad(rows, (reach, reach, 0, 0), mode="replicate")
    found = F.conv2d(padded, kernel[:, None, None], groups=len(values))
    return found.reshape(lines.shape).movedim(-1, axis)
