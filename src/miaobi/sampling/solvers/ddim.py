"""Denoising diffusion implicit models (Song, Meng and Ermon 2021)."""

from __future__ import annotations

from pydantic import Field as Value
from torch import Tensor

from miaobi.sampling.solvers._base import Denoise, Solver
from miaobi.sampling.solvers._posterior import walk
from miaobi.types import Settings


class DDIM(Solver):
    """Steps that keep the marginals and replace a share of the noise by fresh noise."""

    class Config(Settings):
        """How much noise is replaced."""

        eta: float = Value(0.0, ge=0, le=1, description="0: none, deterministic; 1: as in ancestral sampling")

    config: Config

    order = 1
    evaluations = 1
    stochastic = True

    def solve(self, denoise: Denoise, x: Tensor, grid: tuple[float, ...], seeds: Tensor) -> Tensor:
        return walk(denoise, x, grid, seeds, self.config.eta)
