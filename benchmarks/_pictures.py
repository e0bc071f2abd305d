"""Sheets of items for the documents: images side by side, clips as strips of frames, sounds as mel spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from miaobi.evaluation.extractors.mel_statistics import FLOOR, decibels
from miaobi.modalities._waveform import Sound

GAP = 2
WIDEST = 640
"""Pixels of a sheet's width before it is enlarged no further."""


def sheet(groups: Sequence[Sequence[Any]], columns: int = 8) -> Image.Image:
    """Groups of items below each other, a white line between them, small ones enlarged by a whole number."""
    blocks = [_block([_pixels(item) for item in items], columns) for items in groups]
    width = max(block.shape[1] for block in blocks)
    padded = [
        np.pad(block, ((0, 2 * GAP), (0, width - block.shape[1]), (0, 0)), constant_values=255) for block in blocks
    ]
    page = np.concatenate(padded)[: -2 * GAP]
    times = max(1, WIDEST // page.shape[1])
    return Image.fromarray(page.repeat(times, 0).repeat(times, 1))


def _pixels(item: Any) -> np.ndarray:
    """``uint8 [H, W, 3]``."""
    if isinstance(item, Sound):
        picture = decibels(item)[::-1]
        grey = np.clip((picture - FLOOR) / -FLOOR * 255, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, -1)
    pixels = np.concatenate(list(item), axis=1) if item.ndim == 4 else np.atleast_3d(item)
    return np.repeat(pixels, 3, -1) if pixels.shape[-1] == 1 else pixels[..., :3]


def _block(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Rows of as many pictures as fit, all of one size."""
    height, width, _ = pictures[0].shape
    across = max(1, min(columns, WIDEST // (width + GAP)))
    rows = -(-len(pictures) // across)
    page = np.full((rows * (height + GAP), across * (width + GAP), 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = index // across * (height + GAP), index % across * (width + GAP)
        page[top : top + height, left : left + width] = picture
    return page
