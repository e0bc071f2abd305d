"""Likelihoods through the probability-flow equation (Song et al. 2021, "Score-based generative modeling through SDEs").

The density changes along the flow by the trace of the velocity's Jacobian (Chen et al. 2018, "Neural ordinary
differential equations"), estimated with random signs (Grathwohl et al. 2019, "FFJORD"; Hutchinson 1989).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from miaobi.families._paths import velocity
from miaobi.sampling.noise import derive, uniform
from miaobi.sampling.solvers import Denoise

_START = 5e-4
"""Time that the data is taken to be at: a velocity at 0 is 0 / 0. Far below the width of an 8-bit level."""
_LATE = 0.95
"""From here to pure noise is one step: hardly anything happens there."""


def log_density(denoise: Denoise, x: Tensor, steps: int, probes: int, seeds: Tensor) -> Tensor:
    """``[B]`` nats: log-density of ``x [B, ...]`` under the flow of a differentiable denoiser.

    Heun's method in ``steps`` steps (at least 2), even in the log of noise over signal, where small scales take as long
    as large ones: two calls and ``2 * probes`` derivatives a step. Unbiased in the probes, of second order in steps.
    """
    total = x.new_zeros(len(x))
    for index, (t, s) in enumerate(pairwise(_grid(steps))):
        signs = [_signs(derive(seeds, "probe", index, probe), x) for probe in range(probes)]
        slope, trace = _flow(denoise, x, t, signs)
        ahead = x + (s - t) * slope
        later_slope, later_trace = _flow(denoise, ahead, s, signs)
        x = x + (s - t) / 2 * (slope + later_slope)
        total = total + (s - t) / 2 * (trace + later_trace)
    normal = -0.5 * (x.square() + math.log(2 * math.pi)).flatten(1).sum(1)
    return normal + total


def _grid(steps: int) -> tuple[float, ...]:
    low, high = (math.log(t / (1 - t)) for t in (_START, _LATE))
    even = [low + (high - low) * index / (steps - 1) for index in range(steps)]
    return (*(1 / (1 + math.exp(-logit)) for logit in even), 1.0)


def _flow(denoise: Denoise, x: Tensor, t: float, signs: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The velocity, and the estimate ``[B]`` of its Jacobian's trace."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        slope = velocity(x, denoise(x, t), t)
        trace = x.new_zeros(len(x))
        for index, sign in enumerate(signs):
            (change,) = torch.autograd.grad((slope * sign).sum(), x, retain_graph=index + 1 < len(signs))
            trace = trace + (change * sign).flatten(1).sum(1)
    return slope.detach(), trace / len(signs)


def _signs(seeds: Tensor, like: Tensor) -> Tensor:
    return torch.where(uniform(seeds, "signs", like.shape[1:]) < 0.5, -1.0, 1.0).to(like.dtype)
