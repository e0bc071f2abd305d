"""From videos to canonical clips: ``uint8 [T, H, W, C]`` at one rate, C of 1 (grey) or 3 (RGB)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from miaobi.errors import UnreadableItem
from miaobi.modalities._pictures import EXTENSIONS as PICTURES
from miaobi.modalities._pictures import read_pixels
from miaobi.modalities._resize import ALPHA, COLOUR, GREY, Fit, convert, on_white, resize
from miaobi.modalities._video_files import Shown, Source, Timeline, frames_from, opened, pixels, timeline

Take = Literal["middle", "start"]
FEWEST = 2
_STILL = PICTURES - {".gif"}
_MOST_VALUES = 1 << 29
_TINT = 3
_LATE = 0.005
"""Seconds: containers round times to a millisecond or a hundredth, and a frame must not be missed for that."""


def read_clip(raw: Any, *, count: int, rate: float, keep: int, take: Take) -> np.ndarray:
    """At most ``count`` frames at ``rate`` a second from a path, bytes, a table's mapping, an array, or a picture.

    At each instant the frame that a player would show is taken; none is blended. A file shorter than the clip gives the
    frames that it has. Arrays ``[T, H, W]`` or ``[T, H, W, C]`` are taken to be at ``rate`` already. A still picture (a
    PIL image, or a file by its suffix) gives one frame: what video is started from.

    Args:
        raw: what a source holds.
        count: frames wanted.
        rate: frames a second.
        keep: frames whose shorter side is longer are scaled down to it.
        take: which stretch of a longer video.

    Raises:
        UnreadableItem: not a video, cut short, damaged, too large, or of fewer than two frames at this rate.
    """
    if isinstance(raw, Mapping):
        raw = raw.get("bytes") or Path(str(raw.get("path")))
    if isinstance(raw, np.ndarray):
        return canonical(_shrunk(_cut(_checked(raw), count, take), keep))
    if isinstance(raw, Image.Image) or (isinstance(raw, str | Path) and Path(raw).suffix.lower() in _STILL):
        return canonical(_opaque(read_pixels(raw, keep))[None])
    if isinstance(raw, str | Path):
        return canonical(_decoded(Path(raw), count, rate, keep, take))
    if isinstance(raw, bytes | bytearray | memoryview):
        return canonical(_decoded(bytes(raw), count, rate, keep, take))
    raise UnreadableItem("not a video", given=type(raw).__name__, allowed="a path, bytes, or a uint8 array")


def canonical(clip: np.ndarray) -> np.ndarray:
    """One channel where no pixel's channels differ by more than compression makes those of grey differ."""
    if clip.shape[3] == COLOUR:
        spread = clip.max(axis=3) - clip.min(axis=3)
        if spread.max() <= _TINT:
            clip = np.stack([convert(frame, GREY) for frame in clip])
    return np.ascontiguousarray(clip)


def fitted_clip(clip: np.ndarray, count: int, size: tuple[int, int], channels: int, fit: Fit) -> np.ndarray:
    """``uint8 [count, H, W, channels]``: cut at ``count`` frames, or its last frame held until then."""
    shown = clip[np.minimum(np.arange(count), len(clip) - 1)]
    if shown.shape[1:] == (*size, channels):
        return shown
    made: list[np.ndarray] = []
    for index, frame in enumerate(shown):
        held = index >= len(clip)
        made.append(made[-1] if held else resize(convert(frame, channels), size, fit))
    return np.stack(made)


def at(clip: np.ndarray, count: int) -> np.ndarray:
    """``count`` frames spread evenly over a clip, its first and last among them."""
    return clip[np.linspace(0, len(clip) - 1, count).round().astype(np.int64)]


def steps(clip: np.ndarray, lag: int = 1) -> np.ndarray:
    """``int16 [T - lag, H, W, C]`` differences of frames ``lag`` apart; empty of a clip that is too short."""
    whole = clip.astype(np.int16)
    return whole[lag:] - whole[:-lag]


def _decoded(source: Source, count: int, rate: float, keep: int, take: Take) -> np.ndarray:
    with opened(source) as (container, stream):
        line = timeline(container, stream, source)
    number = min(count, int((line.end + _LATE) * rate))
    if number < FEWEST or len(line.times) < FEWEST:
        raise UnreadableItem(
            f"the video is shorter than {FEWEST} frames",
            given=f"{len(line.times)} frames in {line.end:.3g} s, at {rate:g} frames a second",
            cure="leave it out, or raise the modality's rate",
        )
    return _collected(source, line, _instants(line, number, rate, take), keep)


def _instants(line: Timeline, number: int, rate: float, take: Take) -> np.ndarray:
    begin = max(0.0, (line.end - number / rate) / 2) if take == "middle" else 0.0
    return begin + np.arange(number) / rate + _LATE


def _collected(source: Source, line: Timeline, instants: np.ndarray, keep: int) -> np.ndarray:
    """The frame on show at each instant."""
    made: list[np.ndarray] = []
    with closing(frames_from(source, line, max(0.0, float(instants[0]) - _LATE))) as walk:
        for frame, until in _spans(walk):
            count = int(np.searchsorted(instants, until)) - len(made)
            if count > 0:
                made += [pixels(frame, keep)] * count
            if len(made) == len(instants):
                break
    if not made or any(frame.shape != made[0].shape for frame in made):
        raise UnreadableItem("the video has no frames, or frames of several sizes")
    return np.stack(made)


def _spans(walk: Iterable[Shown]) -> Iterator[tuple[Any, float]]:
    """Each frame, and when the next one takes its place; the last one stays."""
    held: Any = None
    for time, frame in walk:
        if held is not None:
            yield held, time
        held = frame
    if held is not None:
        yield held, math.inf


def _checked(array: np.ndarray) -> np.ndarray:
    if array.ndim == 3:
        array = array[..., None]
    shaped = array.ndim == 4 and array.shape[3] in (GREY, COLOUR) and 0 not in array.shape
    if array.dtype != np.uint8 or not shaped or array.size > _MOST_VALUES or len(array) < FEWEST:
        given = f"{array.dtype} {list(array.shape)}"
        allowed = f"uint8 [T, H, W] or [T, H, W, C] with T of {FEWEST} or more, C of 1 or 3, {_MOST_VALUES} values"
        raise UnreadableItem("not a video", given=given, allowed=allowed)
    return array


def _cut(clip: np.ndarray, count: int, take: Take) -> np.ndarray:
    begin = max(0, (len(clip) - count) // 2) if take == "middle" else 0
    return clip[begin : begin + count]


def _shrunk(clip: np.ndarray, keep: int) -> np.ndarray:
    height, width = clip.shape[1:3]
    scale = keep / min(height, width)
    if scale >= 1:
        return clip
    size = (max(keep, round(height * scale)), max(keep, round(width * scale)))
    return np.stack([resize(frame, size, "stretch") for frame in clip])


def _opaque(frame: np.ndarray) -> np.ndarray:
    return on_white(frame) if frame.shape[2] == ALPHA else frame
