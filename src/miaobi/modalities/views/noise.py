"""The target under noise: what denoising starts from."""

from __future__ import annotations

from pydantic import Field as Value
from torch import Tensor

from miaobi.modalities.views._base import View
from miaobi.sampling.noise import noise, uniform
from miaobi.types import Settings


class Noise(View):
    """Adds white Gaussian noise, each item with its own level up to ``level``."""

    class Config(Settings):
        """How much."""

        level: float = Value(0.3, gt=0, le=10, description="largest standard deviation; data span [-1, 1]")

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        level = self.config.level * (0.5 + 0.5 * uniform(seeds, "noise:level", (1,) * (values.ndim - 1)))
        return values + level * noise(seeds, "noise:values", values.shape[1:])
