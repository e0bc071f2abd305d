"""Self-supervision of a discriminator: from its features it must be possible to rebuild the data (Liu et al. 2021).

The paper compares by LPIPS, a pretrained network; here by plain absolute differences at several scales, because nothing
is downloaded to train.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from miaobi.networks._few_shot import Decoder
from miaobi.networks._resampling import Space, resize, shrink
from miaobi.sampling.noise import uniform

_SCALES = 3
_UP = 2
"""Resolutions that a decoder climbs."""


class Rebuilding(nn.Module):
    """A decoder of the whole picture from coarse features, and one of a random half of each extent from finer ones.

    Args:
        spaces: of the features, finest first, the first being the picture's.
        widths: channels of the features.
        outputs: channels of the picture.
        kernel: extent of the convolutions.
    """

    def __init__(self, spaces: Sequence[Space], widths: Sequence[int], outputs: int, kernel: int) -> None:
        super().__init__()
        self.whole_level = max(len(spaces) - 2, 0)
        self.part_level = max(len(spaces) - 3, 0)
        whole, part = (
            list(spaces)[max(level - _UP, 0) : level + 1][::-1] for level in (self.whole_level, self.part_level)
        )
        self.whole = Decoder(widths[self.whole_level], whole, outputs, kernel)
        self.part = Decoder(widths[self.part_level], [_halved(space) for space in part], outputs, kernel)

    def forward(self, features: Sequence[Tensor], x: Tensor, seeds: Tensor) -> Tensor:
        """``[B]``: how far what is rebuilt from ``features``, finest first, is from ``x [B, C, *space]``."""
        high = uniform(seeds, "halves", (x.ndim - 2,)) < 0.5
        whole = difference(self.whole(features[self.whole_level]), x)
        part = difference(self.part(half(features[self.part_level], high)), half(x, high))
        return whole + part


def half(x: Tensor, high: Tensor) -> Tensor:
    """Of each space axis of ``x [B, C, *space]`` the lower half, or the upper where ``high [B, axes]``."""
    for index in range(high.shape[1]):
        axis = index + 2
        extent = x.shape[axis]
        (size,) = _halved((extent,))
        chosen = high[:, index].reshape(-1, *[1] * (x.ndim - 1))
        x = torch.where(chosen, x.narrow(axis, extent - size, size), x.narrow(axis, 0, size))
    return x


def difference(made: Tensor, x: Tensor) -> Tensor:
    """``[B]``: mean absolute difference from ``x`` at the size of ``made``, averaged over up to three scales."""
    made, x = made.float(), resize(x.detach().float(), tuple(made.shape[2:]))
    found = []
    for _ in range(_SCALES):
        found.append((made - x).abs().flatten(1).mean(1))
        space = tuple(made.shape[2:])
        if max(space) < 2:
            break
        smaller = _halved(space)
        made, x = shrink(made, smaller, 2), shrink(x, smaller, 2)
    return torch.stack(found).mean(0)


def _halved(space: Space) -> Space:
    return tuple(-(-extent // 2) for extent in space)
