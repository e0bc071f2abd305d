"""Still pictures of any size, grey, colour or with transparency."""

from __future__ import annotations

import base64
import io
import math
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image as Pillow
from pydantic import Field as Value
from pydantic import field_validator
from torch import Tensor

from miaobi.errors import CorruptFile, DataError
from miaobi.modalities._base import Item, Modality, Raw, quantiles
from miaobi.modalities._perceptual import signature, similarity
from miaobi.modalities._pictures import EXTENSIONS, picture, read_pixels
from miaobi.modalities._resize import ALPHA, COLOUR, GREY, Fit, convert, on_white, resize
from miaobi.modalities._state import fitted, read_frame, write_frame
from miaobi.types import Field, Form, Settings, Spec

LEVELS = 256
_FILE = "image.json"
_MODES = {"L": GREY, "RGB": COLOUR, "RGBA": ALPHA}
_HALF = (LEVELS - 1) / 2
_USUAL_SIDE = 64
_LARGEST_OWN_SIDE = 128
_KEPT_SIDE = 512
_HEADER = struct.Struct("<IIB")
_SHOWN_SIDE = 128

_LONGEST_SIDE = 4096
Side = Annotated[int, Value(strict=True, ge=1, le=_LONGEST_SIDE)]


class Augment(Settings):
    """Random variations of training images.

    Attributes:
        flip: mirror left and right, half of the time.
        crop: shift by up to this many pixels each way, filling in by reflection.
    """

    flip: bool = False
    crop: int = Value(0, ge=0, le=256)


class Image(Modality):
    """A picture; an item is ``uint8 [H, W, C]``, C of 1 (grey), 3 (RGB) or 4 (RGBA): the fewest that lose nothing.

    Reading applies the EXIF orientation and scales down what is much larger than needed (a shorter side over 512, or
    over the size asked for). Encoding resizes by Lanczos under the ``fit`` policy and converts to the fitted mode.
    """

    class Config(Settings):
        """The modality's options in a recipe."""

        size: tuple[Side, Side] | None = Value(
            None,
            description="pixels, one number for a square or [height, width]; default: the images' own size, scaled to "
            f"at most {_LARGEST_OWN_SIDE}, where all agree, else {_USUAL_SIDE}",
        )
        mode: Literal["auto", "L", "RGB", "RGBA"] = Value(
            "auto", description="auto: L where all are grey, RGBA where any is transparent, else RGB"
        )
        fit: Fit = Value("crop", description="crop the middle, pad with black (or transparency), or stretch")

        @field_validator("size", mode="before")
        @classmethod
        def _square(cls, value: Any) -> Any:
            return (value, value) if isinstance(value, int) else value

    form = Form.TENSOR
    unit = "dimension"
    extensions: ClassVar[frozenset[str]] = EXTENSIONS
    metrics = ("kernel_distance", "precision_recall", "likelihood", "memorization", "retrieval", "style")
    quality = "kernel_distance.kernel_distance"
    extractor = "efficientnet_lite0"
    copy_extractor = "pixels"

    def __init__(self, config: Settings) -> None:
        super().__init__(config)
        self._shape: tuple[int, int, int] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Fitted height, width and channels."""
        return fitted(self._shape, self)

    @property
    def spec(self) -> Spec:
        height, width, channels = self.shape
        return Spec(Form.TENSOR, channels=channels, space=(height, width), levels=LEVELS)

    def read(self, raw: Raw) -> np.ndarray:
        return read_pixels(raw, max(_KEPT_SIDE, *(self.config.size or (0,))))

    def pack(self, item: Item) -> bytes:
        return _HEADER.pack(*item.shape) + item.tobytes()

    def unpack(self, data: bytes) -> np.ndarray:
        """The inverse of `pack`.

        Raises:
            CorruptFile: cut short.
        """
        if len(data) < _HEADER.size or len(data) - _HEADER.size != math.prod(_HEADER.unpack_from(data)):
            raise CorruptFile("a packed image is cut short", given=f"{len(data)} bytes")
        pixels = np.frombuffer(data, dtype=np.uint8, offset=_HEADER.size)
        return pixels.reshape(_HEADER.unpack_from(data))

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Settle the size and the mode.

        Raises:
            DataError: no items.
        """
        sizes: set[tuple[int, int]] = set()
        most = 0
        for item in items:
            sizes.add(item.shape[:2])
            most = max(most, item.shape[2])
        if not most:
            raise DataError("there are no images to learn from", cure="check data.source and data.content")
        height, width = self.config.size or _own_size(sizes)
        self._shape = height, width, most if self.config.mode == "auto" else _MODES[self.config.mode]

    def encode(self, item: Item) -> np.ndarray:
        """``uint8 [C, H, W]``."""
        height, width, channels = self.shape
        pixels = resize(convert(item, channels), (height, width), self.config.fit)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def decode(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(1, 2, 0))

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        """``float32 [B, C, H, W]`` in [-1, 1]."""
        return Field(torch.from_numpy(np.stack(arrays)).float().div_(_HALF).sub_(1))

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        levels = values.detach().float().add(1).mul_(_HALF).round_().clamp_(0, LEVELS - 1)
        return list(levels.to(torch.uint8).cpu().numpy())

    def write(self, item: Item, stem: Path) -> list[Path]:
        path = stem.with_name(f"{stem.name}.png")
        picture(item).save(path)
        return [path]

    def units(self, items: Sequence[Item]) -> Tensor:
        """Numbers an image as the model sees it: channels times height times width of the fitted size."""
        return torch.full((len(items),), self.spec.size, dtype=torch.float64)

    def length(self, item: Item) -> int:
        """The shorter side, in pixels."""
        return min(item.shape[:2])

    def signature(self, item: Item) -> np.ndarray | None:
        return signature(item)

    def similarity(self, left: Item, right: Item) -> float:
        """1 less the mean absolute difference against the contrast; 0.9 is where the eye sees no difference."""
        return similarity(left, right)

    def augment(self, array: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        """A variation of ``uint8 [C, H, W]``; every option takes its numbers from ``rng``, used or not."""
        chosen = Augment.parse(options, "data.augment")
        mirror = rng.random() < 1 / 2
        down, right = rng.integers(-chosen.crop, chosen.crop, size=2, endpoint=True).tolist()
        if chosen.flip and mirror:
            array = array[:, :, ::-1]
        if chosen.crop:
            array = array[:, _shifted(array.shape[1], down)][:, :, _shifted(array.shape[2], right)]
        return np.ascontiguousarray(array)

    def check_augment(self, options: dict[str, Any]) -> None:
        Augment.parse(options, "data.augment")

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        """Shorter sides, the ten commonest sizes, the share of each mode, and mean brightness (0 to 255)."""
        if not items:
            return {}
        modes = {channels: mode for mode, channels in _MODES.items()}
        sizes = Counter(f"{item.shape[1]}x{item.shape[0]}" for item in items)
        counts = Counter(modes[item.shape[2]] for item in items)
        return {
            "length": quantiles([self.length(item) for item in items]),
            "sizes": dict(sizes.most_common(10)),
            "modes": {mode: count / len(items) for mode, count in counts.most_common()},
            "brightness": quantiles([float(item[..., :COLOUR].mean()) for item in items]),
        }

    def html(self, item: Item) -> str:
        height, width = item.shape[:2]
        source = base64.b64encode(png(picture(item))).decode("ascii")
        shown = max(1, _SHOWN_SIDE // max(height, width))
        style = f"width:{width * shown}px;image-rendering:{'pixelated' if shown > 1 else 'auto'}"
        return f'<img src="data:image/png;base64,{source}" alt="{width} x {height} pixels" style="{style}">'

    def save(self, folder: Path) -> None:
        write_frame(folder / _FILE, self.shape)

    def load(self, folder: Path) -> None:
        self._shape = read_frame(folder / _FILE, "images", _LONGEST_SIDE, _MODES.values())


def png(image: Pillow.Image) -> bytes:
    """A PIL image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def grid(items: Sequence[np.ndarray], columns: int, gap: int = 2) -> Pillow.Image:
    """Items side by side, row by row, as one PIL image (L or RGB, on white); each in a cell of the largest one's size.

    Raises:
        DataError: no items, or fewer than one column.
    """
    if not len(items) or columns < 1:
        raise DataError("a grid needs items and columns", given=f"{len(items)} items, {columns} columns")
    height, width = (max(item.shape[axis] for item in items) + gap for axis in (0, 1))
    columns = min(columns, len(items))
    channels = GREY if all(item.shape[2] == GREY for item in items) else COLOUR
    sheet = np.full((-(-len(items) // columns) * height - gap, columns * width - gap, channels), 255, dtype=np.uint8)
    for index, item in enumerate(items):
        top, left = index // columns * height, index % columns * width
        visible = convert(on_white(item) if item.shape[2] == ALPHA else item, channels)
        sheet[top : top + item.shape[0], left : left + item.shape[1]] = visible
    return picture(sheet)


def _own_size(sizes: set[tuple[int, int]]) -> tuple[int, int]:
    """The one size of all images, scaled down to at most 128 pixels a side; 64 where sizes differ."""
    if len(sizes) > 1:
        return _USUAL_SIDE, _USUAL_SIDE
    height, width = next(iter(sizes))
    scale = min(1.0, _LARGEST_OWN_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _shifted(size: int, by: int) -> np.ndarray:
    """Which pixel each of ``size`` pixels comes from after a shift ``by``, mirrored at the edges."""
    index = (np.arange(size) + by) % (2 * size)
    return np.where(index < size, index, 2 * size - 1 - index)
