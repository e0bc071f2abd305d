"""Ancestral sampling (Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic models")."""

from __future__ import annotations

from torch import Tensor

from miaobi.sampling.solvers._base import Denoise, Solver
from miaobi.sampling.solvers._posterior import walk


class Ancestral(Solver):
    """Each step draws from the forward process's posterior given what is seen and the estimate of the data.

    The variance is the posterior's own, the smaller of the paper's two; equal to DDIM with an ``eta`` of 1.
    """

    order = 1
    evaluations = 1
    stochastic = True

    def solve(self, denoise: Denoise, x: Tensor, grid: tuple[float, ...], seeds: Tensor) -> Tensor:
        return walk(denoise, x, grid, seeds, 1.0)
