"""What a score hangs on: gradient times input, and integrated gradients.

A score takes ``[N, *shape]`` to ``[N]``, each row on its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Scorer = Callable[[Tensor], Tensor]
NODES = 64
"""Points of the path, by Gauss and Legendre."""
ROWS = 16
"""Points that are computed at once."""


def slopes(score: Scorer, x: Tensor) -> Tensor:
    """The gradient of each row's score by that row, for ``x [N, *shape]``."""
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        inputs = x.detach().requires_grad_(True)
        (found,) = torch.autograd.grad(score(inputs).sum(), inputs)
    return found


def gradient_x_input(score: Scorer, x: Tensor, baseline: Tensor) -> Tensor:
    """``(x - baseline) * gradient`` at ``x``, the shape of ``x [*shape]`` (Shrikumar et al. 2017)."""
    return (x - baseline) * slopes(score, x[None])[0]


def integrated_gradients(score: Scorer, x: Tensor, baseline: Tensor, nodes: int = NODES) -> Tensor:
    """The gradient's mean on the straight way from ``baseline`` to ``x``, times the way; the shape of ``x [*shape]``.

    Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks". It adds up to what the score changes by
    on that way, but for the error of the sum over ``nodes`` points.
    """
    places, weights = np.polynomial.legendre.leggauss(nodes)
    shares = torch.from_numpy((places + 1) / 2).to(x)
    measure = torch.from_numpy(weights / 2).to(x)
    total = torch.zeros_like(x)
    for rows in torch.arange(nodes, device=x.device).split(ROWS):
        along = shares[rows].view(-1, *[1] * x.ndim)
        found = slopes(score, baseline + along * (x - baseline))
        total += (measure[rows].view(-1, *[1] * x.ndim) * found).sum(0)
    return (x - baseline) * total
