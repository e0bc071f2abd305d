"""From canonical pixels to a fixed size and number of channels."""

from __future__ import annotations

from typing import Literal

import numpy as np
from PIL import Image

from miaobi.modalities._pictures import picture, pixels_of

Fit = Literal["crop", "pad", "stretch"]
GREY, COLOUR, ALPHA = 1, 3, 4
_LUMA = np.array([299, 587, 114], dtype=np.int64)


def convert(pixels: np.ndarray, channels: int) -> np.ndarray:
    """``uint8 [H, W, C]`` with 1 (ITU-R 601 luma), 3 (RGB) or 4 (RGBA) channels; transparency is laid on white."""
    if pixels.shape[2] == channels:
        return pixels
    if pixels.shape[2] == ALPHA:
        pixels = on_white(pixels)
    if channels == GREY and pixels.shape[2] == COLOUR:
        return ((pixels @ _LUMA + 500) // 1000).astype(np.uint8)[..., None]
    if channels != GREY and pixels.shape[2] == GREY:
        pixels = np.repeat(pixels, COLOUR, axis=2)
    if channels == ALPHA:
        opaque = np.full((*pixels.shape[:2], 1), 255, dtype=np.uint8)
        pixels = np.concatenate([pixels, opaque], axis=2)
    return pixels


def on_white(pixels: np.ndarray) -> np.ndarray:
    """RGBA laid on white, as RGB."""
    colour, alpha = pixels[..., :COLOUR].astype(np.int32), pixels[..., COLOUR:].astype(np.int32)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def resize(pixels: np.ndarray, size: tuple[int, int], fit: Fit) -> np.ndarray:
    """``uint8 [H, W, C]`` at ``size`` (height, width) by Lanczos; itself where it has that size already.

    ``crop`` scales until the picture covers the size and cuts the middle out; ``pad`` scales until it fits and centres
    it on black (transparent with alpha); ``stretch`` changes the proportions.
    """
    if pixels.shape[:2] == size:
        return pixels
    if fit == "pad":
        return _padded(pixels, size)
    box = _middle(pixels.shape[:2], size) if fit == "crop" else None
    return _scaled(pixels, size, box)


def _scaled(pixels: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> np.ndarray:
    height, width = size
    return pixels_of(picture(pixels).resize((width, height), Image.Resampling.LANCZOS, box=box))


def _middle(given: tuple[int, ...], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred box of the wanted proportions: left, top, right, bottom."""
    scale = min(given[0] / size[0], given[1] / size[1])
    height, width = size[0] * scale, size[1] * scale
    left, top = (given[1] - width) / 2, (given[0] - height) / 2
    return max(0.0, left), max(0.0, top), min(float(given[1]), left + width), min(float(given[0]), top + height)


def _padded(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    scale = min(size[0] / pixels.shape[0], size[1] / pixels.shape[1])
    inner = tuple(min(most, max(1, round(side * scale))) for side, most in zip(pixels.shape[:2], size, strict=True))
    small = _scaled(pixels, (inner[0], inner[1]), None)
    out = np.zeros((*size, pixels.shape[2]), dtype=np.uint8)
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    out[top : top + inner[0], left : left + inner[1]] = small
    return out
