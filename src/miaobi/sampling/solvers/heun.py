"""Heun's method (Karras et al. 2022, "Elucidating the design space of diffusion-based generative models")."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor

from miaobi.sampling.solvers._base import Denoise, Solver


class Heun(Solver):
    """The mean of the velocities at both ends of a step; a step to time 0 is Euler's, so N steps call 2 N - 1 times."""

    order = 2
    evaluations = 2

    def solve(self, denoise: Denoise, x: Tensor, grid: tuple[float, ...], seeds: Tensor) -> Tensor:
        for t, s in pairwise(grid):
            velocity = (x - denoise(x, t)) / t
            ahead = x + (s - t) * velocity
            if s > 0:
                ahead = x + (s - t) / 2 * (velocity + (ahead - denoise(ahead, s)) / s)
            x = ahead
        return x
