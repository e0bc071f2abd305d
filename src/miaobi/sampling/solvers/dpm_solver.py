"""DPM-Solver++ 2M (Lu et al. 2022, "Fast solver for guided sampling of diffusion probabilistic models")."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor

from miaobi.sampling.solvers._base import Denoise, Solver, slide


class DPMSolver(Solver):
    """A second-order multistep method: the estimate of the data is continued along the log of signal over noise.

    That log is infinite at times 1 and 0; steps from or to there, and the step after the first, take the limit, which
    is the first-order step. Second order up to a logarithm of the number of steps.
    """

    order = 2
    evaluations = 1

    def solve(self, denoise: Denoise, x: Tensor, grid: tuple[float, ...], seeds: Tensor) -> Tensor:
        before: Tensor | None = None
        last = math.inf
        for t, s in pairwise(grid):
            clean = denoise(x, t)
            width = _log_ratio(s) - _log_ratio(t)
            ahead = clean
            if before is not None and math.isfinite(width):
                ahead = clean + width / (2 * last) * (clean - before)
            x = slide(x, ahead, t, s)
            before, last = clean, width
        return x


def _log_ratio(t: float) -> float:
    """Log of signal over noise."""
    if t in (0.0, 1.0):
        return math.inf if t == 0 else -math.inf
    return math.log((1 - t) / t)
