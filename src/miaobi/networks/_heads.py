"""The last layer of a network, kept in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Head(nn.Module):
    """A linear layer that autocast leaves in float32: scores and likelihood parameters need more than bfloat16's 8 bits.

    With ``projection`` a condition's vector ``[B, width]`` adds its scaled inner product with the input to every
    output (Miyato and Koyama 2018, "cGANs with projection discriminator").
    """

    def __init__(self, width: int, outputs: int, *, projection: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(width, outputs)
        self.scale = width**-0.5 if projection else None
        nn.init.normal_(self.linear.weight, std=width**-0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, vector: Tensor | None = None) -> Tensor:
        """``[B, width]`` to ``[B, outputs]`` float32."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            out = self.linear(x)
            if vector is None or self.scale is None:
                return out
            return out + self.scale * (x * vector.float()).sum(1, keepdim=True)
