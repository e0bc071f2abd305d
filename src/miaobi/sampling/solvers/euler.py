"""Euler's method on the probability-flow equation (Song et al. 2021, "Score-based generative modeling through SDEs").

On the straight path the velocity is ``(x_t - x_0) / t`` (Lipman et al. 2023, "Flow matching for generative modeling").
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from miaobi.sampling.solvers._base import Denoise, Solver, slide


class Euler(Solver):
    """One straight line a step; equal to DDIM without noise."""

    order = 1
    evaluations = 1

    def solve(self, denoise: Denoise, x: Tensor, grid: tuple[float, ...], seeds: Tensor) -> Tensor:
        for t, s in pairwise(grid):
            x = slide(x, denoise(x, t), t, s)
        return x
