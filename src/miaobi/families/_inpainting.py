"""Filling in a part of an item with an unconditional denoiser (Lugmayr et al. 2022, "RePaint")."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from miaobi.sampling.noise import derive, noise
from miaobi.sampling.solvers import Denoise, Solver


def fill(
    solver: Solver,
    denoise: Denoise,
    original: Tensor,
    mask: Tensor,
    grid: tuple[float, ...],
    seeds: Tensor,
    repeats: int = 1,
) -> Tensor:
    """Change ``original [B, C, *space]`` where ``mask`` (bool, broadcast over it) is true, and nowhere else.

    The estimate of the kept part is the original itself, so at every time the kept part of ``x_t`` is the original with
    as much noise as belongs there. With ``repeats`` above 1 every step but the last is taken, undone by noise and taken
    again, which brings the new part into agreement with the kept one; a multistep solver then takes first-order steps.
    """

    def informed(x: Tensor, t: float) -> Tensor:
        return torch.where(mask, denoise(x, t), original)

    x = noise(seeds, "start", original.shape[1:])
    if repeats == 1:
        x = solver.sample(informed, x, grid, seeds)
        return torch.where(mask, x, original)
    for index, (t, s) in enumerate(pairwise(grid)):
        turns = repeats if s > 0 else 1
        for turn in range(turns):
            own = derive(seeds, "turn", index, turn)
            ahead = solver.sample(informed, x, (t, s), own)
            x = _renoised(ahead, s, t, own) if turn + 1 < turns else ahead
    return torch.where(mask, x, original)


def _renoised(x: Tensor, s: float, t: float, seeds: Tensor) -> Tensor:
    """What the forward process makes at ``t`` of ``x`` at an earlier ``s``."""
    kept = (1 - t) / (1 - s)
    return kept * x + math.sqrt(t * t - (kept * s) ** 2) * noise(seeds, "renoise", x.shape[1:])
