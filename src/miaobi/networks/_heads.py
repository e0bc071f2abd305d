"""What continuous networks share at their ends: the float32 last layer, and the check of how conditions enter."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._conditioner import Conditioner


def require_how(network: str, conditioner: Conditioner | None, *allowed: str) -> None:
    """Refuse conditions that enter in a way that the network cannot use.

    Raises:
        Unsupported: naming the conditions.
    """
    wrong = {name: how for name, how in (conditioner.how if conditioner else {}).items() if how not in allowed}
    if wrong:
        raise Unsupported(
            f"{network} cannot take conditions this way",
            given=wrong,
            allowed=allowed,
            cure="change `how` of these conditions in the network's conditioner",
        )


def linear(inputs: int, outputs: int, scale: float = 1.0) -> nn.Linear:
    """A linear layer whose weights have variance ``scale ** 2 / inputs``, biases zero."""
    made = nn.Linear(inputs, outputs)
    nn.init.normal_(made.weight, std=scale * inputs**-0.5)
    nn.init.zeros_(made.bias)
    return made


SMALL = 0.1
"""Scale of the first outputs: a likelihood starts near its centre and a score near indifference."""


class Head(nn.Module):
    """A linear layer that autocast leaves in float32: scores and likelihoods need more than bfloat16's 8 bits.

    With ``projection`` a condition's vector ``[B, width]`` adds its scaled inner product with the input to every
    output (Miyato and Koyama 2018, "cGANs with projection discriminator").
    """

    def __init__(self, width: int, outputs: int, *, projection: bool = False) -> None:
        super().__init__()
        self.linear = linear(width, outputs, SMALL)
        self.scale = width**-0.5 if projection else None

    def forward(self, x: Tensor, vector: Tensor | None = None) -> Tensor:
        """``[B, width]`` to ``[B, outputs]`` float32."""
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            out = self.linear(x)
            if vector is None or self.scale is None:
                return out
            return out + self.scale * (x * vector.float()).sum(1, keepdim=True)
