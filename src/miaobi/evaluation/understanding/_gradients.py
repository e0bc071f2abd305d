"""What a score hangs on: gradient times input, and integrated gradients.

A score takes ``[N, *shape]`` to ``[N]``, each row on its own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Scorer = Callable[[Tensor], Tensor]
_PIECES = 16
"""Of the way, at first; a piece that is off is halved, and halved again."""
_HALVINGS = 10
_MOST_HALVED = 16
"""Pieces that are halved in one turn, those that are most off."""
_NODES = 3
"""Points of a piece, by Gauss and Legendre."""
_ROWS = 16
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


def integrated_gradients(score: Scorer, x: Tensor, baseline: Tensor, tolerance: float = 3e-4) -> Tensor:
    """The gradient's mean on the straight way from ``baseline`` to ``x``, times the way; the shape of ``x [*shape]``.

    Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks". It adds up to what the score changes by
    on the way. So it must on every piece of it, which tells where the sum is off: a trained classifier's probability
    jumps within a hundredth of the way, and evenly spaced points miss that. Such pieces are halved until each is within
    ``tolerance`` of the whole change, ten times at most.
    """
    way, total = x - baseline, torch.zeros_like(x)
    ends = torch.linspace(0, 1, _PIECES + 1, device=x.device, dtype=x.dtype)
    pieces = torch.stack([ends[:-1], ends[1:]], 1)
    change = _along(score, baseline, way, ends[[0, -1]]).diff().abs()
    allowed = tolerance * change.clamp(min=0.01) + 1e-6
    for turn in range(_HALVINGS + 1):
        parts, error = _integrals(score, baseline, way, pieces)
        worst = error.argsort(descending=True)[: _MOST_HALVED if turn < _HALVINGS else 0]
        bad = torch.zeros_like(error, dtype=torch.bool)
        bad[worst] = error[worst] > allowed
        total += parts[~bad].sum(0)
        if not bad.any():
            break
        low, high = pieces[bad].unbind(1)
        pieces = torch.cat([torch.stack([low, (low + high) / 2], 1), torch.stack([(low + high) / 2, high], 1)])
    return way * total


def _integrals(score: Scorer, baseline: Tensor, way: Tensor, pieces: Tensor) -> tuple[Tensor, Tensor]:
    """Of each piece ``[P, 2]`` of the way: the integral of the gradient ``[P, *shape]``, and how far its sum is off."""
    places, measures = (torch.from_numpy(part).to(way) for part in np.polynomial.legendre.leggauss(_NODES))
    lengths = pieces.diff(dim=1)
    at = (pieces[:, :1] + lengths * (places + 1) / 2).flatten()
    weights = (lengths * measures / 2).flatten()
    shape = (-1, *[1] * way.ndim)
    found = torch.cat([slopes(score, baseline + one.view(shape) * way) for one in at.split(_ROWS)])
    parts = (weights.view(shape) * found).unflatten(0, (len(pieces), _NODES)).sum(1)
    changes = _along(score, baseline, way, pieces.flatten()).view(-1, 2).diff(dim=1)[:, 0]
    return parts, ((parts * way).flatten(1).sum(1) - changes).abs()


def _along(score: Scorer, baseline: Tensor, way: Tensor, at: Tensor) -> Tensor:
    """The score at places ``at [N]`` of the way."""
    with torch.no_grad():
        shape = (-1, *[1] * way.ndim)
        return torch.cat([score(baseline + one.view(shape) * way) for one in at.split(_ROWS)])
