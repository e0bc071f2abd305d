"""From image files and arrays to canonical pixels: ``uint8 [H, W, C]`` with the fewest channels that lose nothing.

Only the first frame of an animation is read. Decoders that run other programs (PostScript) are never used.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageOps

from miaobi.errors import UnreadableItem

MOST_PIXELS = 64_000_000
EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_CHANNELS = (1, 3, 4)
_ALPHA = 3


def read_pixels(raw: Any, keep: int) -> np.ndarray:
    """The picture in a path, bytes, a table's ``{"bytes": ..., "path": ...}``, a PIL image, or a ``uint8`` array.

    Args:
        raw: arrays are ``[H, W]`` or ``[H, W, C]`` with 1, 3 or 4 channels.
        keep: a picture whose shorter side is longer is scaled down to it, so that none takes much memory.

    Raises:
        UnreadableItem: not a picture, cut short, empty, or of more than 64 million pixels (refused before decoding).
    """
    if isinstance(raw, Mapping):
        raw = raw.get("bytes") or Path(str(raw.get("path")))
    if isinstance(raw, np.ndarray):
        return canonical(_shrink(_checked(raw), keep))
    if isinstance(raw, Image.Image):
        return _guarded(lambda: _pixels(raw, keep))
    if isinstance(raw, bytes | bytearray | memoryview):
        return _open(io.BytesIO(raw), keep)
    if isinstance(raw, str | Path):
        return _open(Path(raw), keep)
    raise UnreadableItem("not a picture", given=raw, allowed="a path, bytes, a PIL image, or a uint8 array")


def canonical(pixels: np.ndarray) -> np.ndarray:
    """Alpha dropped where all is opaque, colour where all is grey; invisible pixels are black."""
    if pixels.shape[2] == _ALPHA + 1:
        alpha = pixels[..., _ALPHA:]
        if alpha.min() == np.iinfo(np.uint8).max:
            pixels = pixels[..., :_ALPHA]
        else:
            return np.ascontiguousarray(np.where(alpha > 0, pixels, 0).astype(np.uint8))
    if pixels.shape[2] == _ALPHA and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    return np.ascontiguousarray(pixels)


def picture(pixels: np.ndarray) -> Image.Image:
    """``uint8 [H, W, C]`` as a PIL image in mode L, RGB or RGBA."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def pixels_of(image: Image.Image) -> np.ndarray:
    """The inverse of `picture`."""
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _open(source: Path | IO[bytes], keep: int) -> np.ndarray:
    def decode() -> np.ndarray:
        with Image.open(source, formats=_FORMATS) as image:
            _check_size(*image.size)
            # JPEG decodes at a half, a quarter or an eighth for next to nothing.
            image.draft(None, (keep, keep))
            return _pixels(image, keep)

    return _guarded(decode)


def _guarded(decode: Any) -> np.ndarray:
    with warnings.catch_warnings():
        # What decoders say about odd but readable files is of no use; a size beyond Pillow's own limit is an error.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            pixels: np.ndarray = decode()
        except UnreadableItem:
            raise
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise _too_large(str(error)) from None
        except Exception as error:  # noqa: BLE001 - decoders raise anything at all on broken files
            raise UnreadableItem(f"cannot read the picture: {str(error) or type(error).__name__}") from None
    return pixels


def _pixels(image: Image.Image, keep: int) -> np.ndarray:
    _check_size(*image.size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        pixels = _from_16_bit(np.asarray(image))
    elif image.mode == "F":
        raise UnreadableItem("a picture of floating-point numbers has no known range", allowed="8 or 16 bits a channel")
    elif image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA"))
    else:
        pixels = np.asarray(image.convert("L" if image.mode in ("1", "L") else "RGB"))
    return canonical(_shrink(_checked(pixels), keep))


def _from_16_bit(values: np.ndarray) -> np.ndarray:
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise UnreadableItem("a picture of 32-bit integers has no known range", allowed="8 or 16 bits a channel")
    return ((values.astype(np.int64) + 128) // 257).astype(np.uint8)


def _checked(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in _CHANNELS:
        given = f"{pixels.dtype} {list(pixels.shape)}"
        raise UnreadableItem("not a picture", given=given, allowed="uint8 [H, W] or [H, W, C] with C of 1, 3 or 4")
    _check_size(pixels.shape[1], pixels.shape[0])
    return pixels


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise _too_large(f"{width} x {height} pixels")
    if width * height == 0:
        raise UnreadableItem("the picture has no pixels", given=f"{width} x {height}")


def _too_large(given: str) -> UnreadableItem:
    allowed = f"up to {MOST_PIXELS // 1_000_000} million pixels"
    return UnreadableItem(
        "the picture is too large to decode", given=given, allowed=allowed, cure="scale it down first"
    )


def _shrink(pixels: np.ndarray, keep: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if shorter <= keep:
        return pixels
    size = (max(keep, round(width * keep / shorter)), max(keep, round(height * keep / shorter)))
    return pixels_of(picture(pixels).resize(size, Image.Resampling.LANCZOS))
