"""Feature maps that content and style are measured on: frozen image features, or none that were learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from miaobi.networks import _efficientnet

FeaturesName = Literal["efficientnet_lite0", "pixels"]
_COLOURS = "colours"


class Features(Protocol):
    """Maps of images."""

    def maps(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        """``[B, C, H', W']`` a layer, of ``float32 [B, 3, H, W]`` in [0, 1]; ``layers`` in the order of `LAYERS`."""
        ...


class Learned:
    """Maps of the frozen EfficientNet-lite0, and the colours themselves, which its first layer hardly tells.

    Raises:
        MissingExtra: the packages of the extra ``features`` are absent.
        FetchFailed: their weight file has another checksum.
    """

    def __init__(self) -> None:
        self._backbone = _efficientnet.shared("the family style_transfer with features: efficientnet_lite0")

    def maps(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        deeper = [layer for layer in layers if layer != _COLOURS]
        found = self._backbone.maps(images, deeper) if deeper else []
        # Beside a constant, second moments of colours tell their means too.
        return found if _COLOURS not in layers else [torch.cat([images, torch.ones_like(images[:, :1])], 1), *found]


class Pixels:
    """Colours and the rises and falls between neighbours at three scales: 15 channels each, without any weights.

    It knows palettes and the directions and widths of strokes, and nothing of what a picture shows. For tests and for
    pictures too small for a learned network.
    """

    def maps(self, images: Tensor, layers: Sequence[str]) -> list[Tensor]:
        found = []
        for layer in LAYERS["pixels"]:
            if layer in layers:
                steps = [_step(images, axis) for axis in (2, 3)]
                found.append(torch.cat([images, *(F.relu(sign * step) for step in steps for sign in (1, -1))], dim=1))
            images = F.interpolate(images, size=[-(-extent // 2) for extent in images.shape[2:]], mode="area")
        return found


LAYERS: dict[FeaturesName, tuple[str, ...]] = {
    "efficientnet_lite0": (_COLOURS, *_efficientnet.LAYERS),
    "pixels": ("scale1", "scale2", "scale3"),
}
CONTENT: dict[FeaturesName, tuple[str, ...]] = {"efficientnet_lite0": ("stage3",), "pixels": ("scale2",)}
STYLE: dict[FeaturesName, tuple[str, ...]] = {
    "efficientnet_lite0": (_COLOURS, "stem", "stage1", "stage2", "stage3"),
    "pixels": LAYERS["pixels"],
}
LEAST_SIDE: dict[FeaturesName, int] = {"efficientnet_lite0": _efficientnet.LEAST_SIDE, "pixels": 1}
USUAL_SIDE: dict[FeaturesName, int] = {"efficientnet_lite0": 96, "pixels": 1}


def features_of(name: FeaturesName) -> Features:
    """
    Raises:
        MissingExtra: the packages of the extra ``features`` are absent.
        FetchFailed: their weight file has another checksum.
    """
    return Pixels() if name == "pixels" else Learned()


def gram(maps: Tensor) -> Tensor:
    """``[B, C, C]``: how often features occur together, averaged over the places of ``[B, C, H, W]``."""
    flat = maps.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def _step(images: Tensor, axis: int) -> Tensor:
    """Differences to the next pixel along an axis, 0 at the end."""
    last = images.narrow(axis, images.shape[axis] - 1, 1)
    return torch.cat([images, last], dim=axis).diff(dim=axis)
