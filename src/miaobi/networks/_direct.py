"""A path around a denoiser: what it makes starts from a multiple of what it sees.

Most of the answer is often in the question: the velocity is nearly the noise where there is much of it, and a restored
picture is nearly the degraded one. Convolutions that have to carry every such number through their features learn to
copy before they learn to restore (He et al. 2016, "Deep residual learning", is the same argument within a network).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DirectPath(nn.Module):
    """The sum of some of the inputs' channels, each times a gain that the style sets; all gains start at zero.

    Args:
        starts: first channels, each of ``channels`` consecutive inputs.
        channels: of the output.
        style: length of the vector that steers the gains.
    """

    def __init__(self, starts: list[int], channels: int, style: int) -> None:
        super().__init__()
        self.starts, self.channels = starts, channels
        self.gains = nn.Linear(style, len(starts) * channels)
        nn.init.zeros_(self.gains.weight)
        nn.init.zeros_(self.gains.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """``x [B, inputs, *space]`` and ``style [B, D]`` to float32 ``[B, channels, *space]``."""
        with torch.autocast(x.device.type, enabled=False):
            gains = self.gains(style.float()).view(len(x), len(self.starts), -1, *[1] * (x.ndim - 2)).unbind(1)
            parts = [x[:, start : start + self.channels].float() for start in self.starts]
            return torch.stack([gain * part for gain, part in zip(gains, parts, strict=True)]).sum(0)
