"""Steps with fresh noise, which DDIM and ancestral sampling share."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from miaobi.sampling.noise import noise
from miaobi.sampling.solvers._base import Denoise


def walk(denoise: Denoise, x: Tensor, grid: tuple[float, ...], seeds: Tensor, eta: float) -> Tensor:
    """Through the grid with ``eta`` of the posterior's noise a step, on the straight path's own signal and noise."""
    for index, (t, s) in enumerate(pairwise(grid)):
        clean = denoise(x, t)
        fresh = eta * posterior_std(t, s)
        kept = math.sqrt(max(0.0, s * s - fresh * fresh))
        # x_t without its data part is t times the noise that it holds.
        x = (1 - s) * clean + (kept / t) * (x - (1 - t) * clean)
        if fresh > 0:
            x = x + fresh * noise(seeds, f"step {index}", x.shape[1:]).to(x.dtype)
    return x


def posterior_std(t: float, s: float) -> float:
    """Of ``x_s`` given ``x_t`` and ``x_0``, for ``s < t``: ``s / t`` times what noise the forward step adds."""
    added = t * t - ((1 - t) / (1 - s)) ** 2 * s * s
    return s / t * math.sqrt(max(0.0, added))
