"""Short video clips, grey or colour, at a fixed rate."""

from __future__ import annotations

import base64
import math
import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field as Value
from pydantic import field_validator
from torch import Tensor

from miaobi.errors import CorruptFile, DataError
from miaobi.modalities import _perceptual
from miaobi.modalities._base import Item, Modality, Raw, quantiles
from miaobi.modalities._frames import FEWEST, Take, at, fitted_clip, read_clip, steps
from miaobi.modalities._resize import COLOUR, GREY, Fit
from miaobi.modalities._state import fitted, read_frame, write_frame
from miaobi.modalities._video_files import EXTENSIONS
from miaobi.modalities._video_writing import gif_bytes, write_mp4
from miaobi.types import Field, Form, Settings, Spec

LEVELS = 256
_FILE = "video.json"
_MODES = {"L": GREY, "RGB": COLOUR}
_HALF = (LEVELS - 1) / 2
_USUAL_SIDE = 32
_LARGEST_OWN_SIDE = 64
_KEPT_SIDE = 128
_LONGEST_SIDE = 1024
_HEADER = struct.Struct("<IIIB")
_COMPARED = 4
_SHOWN_SIDE = 128
_MOVING = 1.0

Side = Annotated[int, Value(strict=True, ge=1, le=_LONGEST_SIDE)]


class Augment(Settings):
    """Random variations of training clips.

    Attributes:
        flip: mirror left and right, half of the time.
        reverse: play backwards, half of the time; wrong for whatever falls, walks or burns.
    """

    flip: bool = False
    reverse: bool = False


class Video(Modality):
    """A silent clip; an item is ``uint8 [T, H, W, C]``, C of 1 (grey) or 3 (RGB), at the rate asked for.

    A file gives one clip, from its middle or its start; sound is left out. At each instant the frame that a player
    would show is taken, so any frame rate, a variable one too, becomes ``rate`` without blending. Rotation in the file
    is applied, pixels are taken to be square. A file shorter than the clip gives fewer frames, and encoding
    holds the last one; a still picture gives one frame. Reading scales down frames of a shorter side over 128, or over
    the size asked for. Encoding resizes each frame by Lanczos under the ``fit`` policy.
    """

    class Config(Settings):
        """The modality's options in a recipe."""

        frames: int = Value(16, ge=FEWEST, le=1024, description="length of a clip")
        rate: float = Value(8.0, ge=0.1, le=240, description="frames a second")
        take: Take = Value("middle", description="which stretch of a video that is longer than the clip")
        size: tuple[Side, Side] | None = Value(
            None,
            description="pixels, one number for a square or [height, width]; default: the clips' own size, scaled to "
            f"at most {_LARGEST_OWN_SIDE}, where all agree, else {_USUAL_SIDE}",
        )
        mode: Literal["auto", "L", "RGB"] = Value("auto", description="auto: L where all are grey, else RGB")
        fit: Fit = Value("crop", description="crop the middle, pad with black, or stretch")

        @field_validator("size", mode="before")
        @classmethod
        def _square(cls, value: Any) -> Any:
            return (value, value) if isinstance(value, int) else value

    form = Form.TENSOR
    unit = "dimension"
    extensions: ClassVar[frozenset[str]] = EXTENSIONS
    metrics = ("motion", "kernel_distance", "likelihood")
    quality = "kernel_distance.kernel_distance"
    extractor = "clip_pixels"

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
        return Spec(Form.TENSOR, channels=channels, space=(self.config.frames, height, width), levels=LEVELS)

    def read(self, raw: Raw) -> np.ndarray:
        config = self.config
        keep = max(_KEPT_SIDE, *(config.size or (0,)))
        return read_clip(raw, count=config.frames, rate=config.rate, keep=keep, take=config.take)

    def pack(self, item: Item) -> bytes:
        return _HEADER.pack(*item.shape) + item.tobytes()

    def unpack(self, data: bytes) -> np.ndarray:
        """The inverse of `pack`.

        Raises:
            CorruptFile: cut short.
        """
        if len(data) < _HEADER.size or len(data) - _HEADER.size != math.prod(_HEADER.unpack_from(data)):
            raise CorruptFile("a packed video is cut short", given=f"{len(data)} bytes")
        return np.frombuffer(data, dtype=np.uint8, offset=_HEADER.size).reshape(_HEADER.unpack_from(data))

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Settle the size and the mode.

        Raises:
            DataError: no items.
        """
        sizes: set[tuple[int, int]] = set()
        most = 0
        for item in items:
            sizes.add(item.shape[1:3])
            most = max(most, item.shape[3])
        if not most:
            raise DataError("there are no videos to learn from", cure="check data.source and data.content")
        height, width = self.config.size or _own_size(sizes)
        self._shape = height, width, most if self.config.mode == "auto" else _MODES[self.config.mode]

    def encode(self, item: Item) -> np.ndarray:
        """``uint8 [C, T, H, W]``."""
        height, width, channels = self.shape
        clip = fitted_clip(item, self.config.frames, (height, width), channels, self.config.fit)
        return np.ascontiguousarray(clip.transpose(3, 0, 1, 2))

    def decode(self, array: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(array.transpose(1, 2, 3, 0))

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        """``float32 [B, C, T, H, W]`` in [-1, 1]."""
        return Field(torch.from_numpy(np.stack(arrays)).float().div_(_HALF).sub_(1))

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        levels = values.detach().float().add(1).mul_(_HALF).round_().clamp_(0, LEVELS - 1)
        return list(levels.to(torch.uint8).cpu().numpy())

    def write(self, item: Item, stem: Path) -> list[Path]:
        """An MP4, in which an odd side gains a row, and a GIF."""
        main, shown = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".mp4", ".gif"))
        write_mp4(item, self.config.rate, main)
        shown.write_bytes(gif_bytes(item, self.config.rate))
        return [main, shown]

    def units(self, items: Sequence[Item]) -> Tensor:
        """Numbers a clip as the model sees it: channels times frames times height times width."""
        return torch.full((len(items),), self.spec.size, dtype=torch.float64)

    def length(self, item: Item) -> int:
        """Frames."""
        return len(item)

    def signature(self, item: Item) -> np.ndarray | None:
        """Perceptual hashes of four frames; a flat frame has that of the next one that is not."""
        found = [mark for frame in at(item, _COMPARED) if (mark := _perceptual.signature(frame)) is not None]
        if not found:
            return None
        return np.concatenate([found[min(index, len(found) - 1)] for index in range(_COMPARED)])

    def similarity(self, left: Item, right: Item) -> float:
        """The least similarity of four pairs of frames at equal times; other lengths lower it.

        0.9 is where the eye sees no difference. A copy that starts at another time is another clip.
        """
        pairs = zip(at(left, _COMPARED), at(right, _COMPARED), strict=True)
        least = min(_perceptual.similarity(one, other) for one, other in pairs)
        return least * min(len(left), len(right)) / max(len(left), len(right))

    def augment(self, array: np.ndarray, options: dict[str, Any], rng: np.random.Generator) -> np.ndarray:
        """A variation of ``uint8 [C, T, H, W]``; every option takes its number from ``rng``, used or not."""
        chosen = Augment.parse(options, "data.augment")
        mirror, backwards = (rng.random(2) < 1 / 2).tolist()
        if chosen.flip and mirror:
            array = array[..., ::-1]
        if chosen.reverse and backwards:
            array = array[:, ::-1]
        return np.ascontiguousarray(array)

    def check_augment(self, options: dict[str, Any]) -> None:
        Augment.parse(options, "data.augment")

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        """Frames, the ten commonest sizes, the share of each mode, mean brightness, and motion.

        Motion is the mean absolute difference of neighbouring frames, 0 to 255; ``still`` is the share under 1.
        """
        if not items:
            return {}
        modes = {channels: mode for mode, channels in _MODES.items()}
        sizes = Counter(f"{item.shape[2]}x{item.shape[1]}" for item in items)
        counts = Counter(modes[item.shape[3]] for item in items)
        motion = [float(np.abs(steps(item)).mean()) if len(item) > 1 else 0.0 for item in items]
        return {
            "length": quantiles([self.length(item) for item in items]),
            "sizes": dict(sizes.most_common(10)),
            "modes": {mode: count / len(items) for mode, count in counts.most_common()},
            "brightness": quantiles([float(item.mean()) for item in items]),
            "motion": quantiles(motion),
            "still": sum(value < _MOVING for value in motion) / len(items),
        }

    def html(self, item: Item) -> str:
        count, height, width = item.shape[:3]
        source = base64.b64encode(gif_bytes(item, self.config.rate)).decode("ascii")
        shown = max(1, _SHOWN_SIDE // max(height, width))
        style = f"width:{width * shown}px;image-rendering:{'pixelated' if shown > 1 else 'auto'}"
        title = f"{count} frames of {width} x {height} pixels"
        return f'<img src="data:image/gif;base64,{source}" alt="{title}" style="{style}">'

    def save(self, folder: Path) -> None:
        write_frame(folder / _FILE, self.shape)

    def load(self, folder: Path) -> None:
        self._shape = read_frame(folder / _FILE, "videos", _LONGEST_SIDE, _MODES.values())


def frame_sheet(items: Sequence[np.ndarray]) -> np.ndarray:
    """``uint8 [H, W, C]``: a clip a row, its frames from left to right; every clip of one size, white between rows.

    Raises:
        DataError: no clips, or clips of several sizes.
    """
    if len({item.shape for item in items}) != 1:
        raise DataError("a sheet needs clips of one size", given=f"{len(items)} clips")
    rows = [np.concatenate(list(item), axis=1) for item in items]
    gap = np.full((2, *rows[0].shape[1:]), 255, dtype=np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1], axis=0)


def _own_size(sizes: set[tuple[int, int]]) -> tuple[int, int]:
    """The one size of all clips, scaled down to at most 64 pixels a side; 32 where sizes differ."""
    if len(sizes) > 1:
        return _USUAL_SIDE, _USUAL_SIDE
    height, width = next(iter(sizes))
    scale = min(1.0, _LARGEST_OWN_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))
