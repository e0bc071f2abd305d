"""Noise inputs of a network's layers (Karras, Laine and Aila 2019, "A style-based generator architecture").

A network draws nothing itself. Whoever calls it passes the noise that `NoisyNetwork.noises` asks for, one draw an item,
so that a batch equals its items one by one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from miaobi.networks._base import Network
from miaobi.networks._resampling import Space
from miaobi.sampling.noise import noise

Noises = Mapping[str, Tensor]


class NoiseInput(nn.Module):
    """Adds one channel of standard normal noise, times a learned strength that starts at zero.

    Args:
        name: unique within the network.
        space: extents of what the noise is added to.
    """

    fixed: Tensor

    def __init__(self, name: str, space: Space) -> None:
        super().__init__()
        self.name, self.shape = name, (1, *space)
        self.strength = nn.Parameter(torch.zeros(()))
        fixed = noise(torch.zeros(1, dtype=torch.int64), name, self.shape)
        self.register_buffer("fixed", fixed, persistent=False)

    def forward(self, x: Tensor, noises: Noises | None) -> Tensor:
        """``[B, C, *space]`` to the same; without ``noises`` every item gets the same fixed noise."""
        drawn = self.fixed if noises is None else noises[self.name]
        return x + (self.strength * drawn).to(x.dtype)


class NoisyNetwork(Network):
    """A network with noise inputs: ``forward(x, conditions, noise={NAME: [B, *shape]})``.

    Without ``noise`` every item gets the same.
    """

    @property
    def noises(self) -> dict[str, tuple[int, ...]]:
        """Shape an item of each noise input, by its name."""
        return {part.name: part.shape for part in self.modules() if isinstance(part, NoiseInput)}
