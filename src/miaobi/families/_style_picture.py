"""The picture whose style is learned: a file, or a pattern that needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import InvalidRecipe, UnreadableItem
from miaobi.modalities._pictures import read_pixels
from miaobi.modalities._resize import COLOUR, convert, resize
from miaobi.types import Settings

Colour = Annotated[str, Value(pattern=r"^#[0-9a-fA-F]{6}$")]


class Pattern(Settings):
    """Wavy bands of colours one below the other, drawn without a file."""

    colours: list[Colour] = Value(min_length=2, max_length=16, description="of the bands, as #rrggbb, from the top")
    width: float = Value(4.0, ge=1, le=256, description="of a band, in pixels")
    wave: float = Value(0.0, ge=0, le=256, description="how far a band swings up and down, in pixels")
    period: float = Value(32.0, ge=2, le=1024, description="of a swing, in pixels")


def style_picture(style: str | Pattern, side: int) -> Tensor:
    """``uint8 [3, side, side]``: the middle of the picture, transparency on white.

    Raises:
        InvalidRecipe: a file that cannot be read as a picture.
    """
    pixels = _drawn(style, side) if isinstance(style, Pattern) else _read(style, side)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _read(path: str, side: int) -> np.ndarray:
    try:
        pixels = read_pixels(Path(path).expanduser(), keep=side)
    except UnreadableItem as error:
        raise InvalidRecipe(
            f"the style is no picture: {error.what}", given=path, cure="name a picture file in model.options.style"
        ) from None
    return resize(convert(pixels, COLOUR), (side, side), "crop")


def _drawn(pattern: Pattern, side: int) -> np.ndarray:
    down, right = np.mgrid[:side, :side].astype(np.float64)
    height = down + pattern.wave * np.sin(2 * np.pi * (right % pattern.period) / pattern.period)
    palette = np.array([list(bytes.fromhex(colour[1:])) for colour in pattern.colours], dtype=np.uint8)
    drawn: np.ndarray = palette[np.floor(height / pattern.width).astype(np.int64) % len(palette)]
    return drawn
