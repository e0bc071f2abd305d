"""What pixel likelihoods do not see in a reconstruction: edges at several scales, and whether its patches look real.

Neither has learned features: no public feature network is needed, and neither is LPIPS.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.families._adversarial import Hinge
from miaobi.networks._convolutions import convolution
from miaobi.types import Spec

_SCALES = 3
_SHALLOWEST, _DEEPEST = 2, 4
"""Hidden layers of a critic."""
_SMALLEST = 4
"""Extents below which a critic does not go down further."""


def multi_scale_difference(x: Tensor, y: Tensor) -> Tensor:
    """``[B]``: mean absolute difference of two ``[B, C, *space]`` and of their neighbours' differences along each axis.

    Averaged over up to three scales, each half the last: blurring costs more than in the pixels alone.
    """
    found = []
    for _ in range(_SCALES):
        found.append(_apart(x, y))
        long = [axis for axis in range(2, x.ndim) if x.shape[axis] > 1]
        found += [_apart(x.diff(dim=axis), y.diff(dim=axis)) for axis in long]
        if max(x.shape[2:], default=1) < 2 * _SMALLEST:
            break
        x, y = _halve(x), _halve(y)
    return torch.stack(found).mean(0)


class PatchCritic(nn.Module):
    """Scores patches (Isola et al. 2017, "Image-to-image translation with conditional adversarial networks").

    Strided convolutions, with the hinge loss of Esser, Rombach and Ommer 2021, "Taming transformers for high-resolution
    image synthesis", but without normalisation, so that no item depends on its batch.

    Args:
        target: what is judged; it has space.
        width: channels of the first layer; they double to at most eight times as many.
    """

    def __init__(self, target: Spec, width: int) -> None:
        super().__init__()
        made: Any = convolution(target.dims)
        layers: list[nn.Module] = []
        channels, space = target.channels, target.space
        while len(layers) < 2 * _SHALLOWEST or (max(space) > _SMALLEST and len(layers) < 2 * _DEEPEST):
            wider = min(width * 2 ** (len(layers) // 2), 8 * width)
            stride = tuple(2 if extent > _SMALLEST else 1 for extent in space)
            layers += [made(channels, wider, 3, stride=stride, padding=1), nn.LeakyReLU(0.2)]
            channels, space = wider, tuple(-(-extent // step) for extent, step in zip(space, stride, strict=True))
        self.layers = nn.Sequential(*layers, made(channels, 1, 3, padding=1))
        self.loss = Hinge()

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``[B, patches]`` float32 of ``[B, C, *space]``, high for real."""
        logits: Tensor = self.layers(x)
        return logits.flatten(1).float()

    def against(self, real: Tensor, fake: Tensor) -> Tensor:
        """``[B]``: the critic's loss."""
        on_real, on_fake = self(torch.cat([real, fake])).chunk(2)
        return self.loss.discriminator(on_real, on_fake).mean(1)

    def fooled(self, fake: Tensor) -> Tensor:
        """``[B]``: the loss of whoever made ``fake``."""
        on_fake = self(fake)
        return self.loss.generator(on_fake, on_fake).mean(1)


def _apart(x: Tensor, y: Tensor) -> Tensor:
    return (x.float() - y.float()).abs().flatten(1).mean(1)


def _halve(x: Tensor) -> Tensor:
    return F.interpolate(x, size=[-(-extent // 2) for extent in x.shape[2:]], mode="area")
