"""From canonical image items to the tensors of an image network."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def stack(items: Iterable[np.ndarray]) -> Tensor:
    """``uint8 [H, W, C]`` (or ``[H, W]``) images of one size as float32 ``[B, C, H, W]`` in [0, 1].

    A last channel of transparency (C of 2 or 4) is composited onto white and removed.
    """
    arrays = [np.atleast_3d(item) for item in items]
    images = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float().div(255)
    if images.shape[1] not in (2, 4):
        return images
    colour, alpha = images[:, :-1], images[:, -1:]
    return colour * alpha + (1 - alpha)


def resize(images: Tensor, height: int, width: int) -> Tensor:
    """Bicubic with anti-aliasing, clamped to [0, 1]; the same size is returned as it is."""
    if images.shape[2:] == (height, width):
        return images
    return F.interpolate(images, (height, width), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
