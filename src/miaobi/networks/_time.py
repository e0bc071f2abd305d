"""Embedding of a diffusion time or step (Ho, Jain and Abbeel 2020, "Denoising diffusion probabilistic models")."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FASTEST = 1000.0
"""Radians a unit of time of the fastest wave: neighbours of a 1000-step schedule are told apart."""
SLOWEST = 0.1


class TimeEmbedding(nn.Module):
    """Sines and cosines of time through two layers: ``[B]`` in [0, 1] to ``[B, width]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.waves = max(1, width // 8)
        self.first = nn.Linear(2 * self.waves, width)
        self.second = nn.Linear(width, width)

    def forward(self, time: Tensor | None, rows: int) -> Tensor:
        """Without a time, that of time 0 for all ``rows``."""
        if time is None:
            time = torch.zeros(rows, device=self.first.weight.device)
        exponents = torch.linspace(0, 1, self.waves, device=time.device)
        angles = time.float()[:, None] * (FASTEST * torch.exp(exponents * math.log(SLOWEST / FASTEST)))
        waves = torch.cat([angles.cos(), angles.sin()], 1)
        return self.second(F.silu(self.first(waves)))  # type: ignore[no-any-return]
