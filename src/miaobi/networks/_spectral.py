"""Convolutions of spectral norm one (Miyato et al. 2018, "Spectral normalization for generative adversarial networks").

The power iteration is a step of its own (`settle`), taken once an update by whoever trains, not a side effect of every
forward pass: a loss then stays a function of its batch and seeds, and micro-batches equal the large batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.networks._convolutions import convolve

_FIRST = 10
"""Power iterations before training, from a start that is not random."""


class SpectralConvolution(nn.Module):
    """A convolution divided by the largest singular value of its weight as a matrix ``[outputs, the rest]``."""

    left: Tensor

    def __init__(
        self, channels: int, outputs: int, kernel: tuple[int, ...], *, stride: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        dims = len(kernel)
        self.weight = nn.Parameter(torch.randn(outputs, channels, *kernel) * self._fan_in(channels, kernel) ** -0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.convolve = convolve(dims)
        self.stride, self.padding = stride or (1,) * dims, tuple(extent // 2 for extent in kernel)
        self.register_buffer("left", F.normalize(self.weight.detach().flatten(1).sum(1), dim=0))
        for _ in range(_FIRST):
            self.settle()

    @torch.no_grad()
    def settle(self) -> None:
        """One power iteration towards the left singular vector of the weight as it is now."""
        matrix = self.weight.float().flatten(1)
        self.left.copy_(F.normalize(matrix @ (self.left @ matrix), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, *space]`` to ``[B, outputs, *ceil(space / stride)]``."""
        with torch.autocast(x.device.type, enabled=False):
            norm = (self.left @ self.weight.float().flatten(1)).norm()
            weight = self.weight / (norm + 1e-12)
        return self.convolve(x, weight, self.bias, stride=self.stride, padding=self.padding)  # type: ignore[no-any-return]

    @staticmethod
    def _fan_in(channels: int, kernel: tuple[int, ...]) -> int:
        for extent in kernel:
            channels *= extent
        return channels


def settle(module: nn.Module) -> None:
    """`SpectralConvolution.settle` everywhere in ``module``."""
    for part in module.modules():
        if isinstance(part, SpectralConvolution):
            part.settle()
