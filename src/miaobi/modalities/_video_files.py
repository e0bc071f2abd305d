"""Video files: opened within limits, timed by their packets, and decoded frame by frame.

Only containers that hold their own frames are opened: playlists, which name other files, are not. Decoding runs on one
thread, so that it gives the same frames everywhere and no more than a few are in memory.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from miaobi.errors import UnreadableItem

MOST_PIXELS = 4096 * 2304
MOST_FRAMES = 250_000
MOST_SECONDS = 3600
MOST_DECODED = 4_000_000_000
"""Pixels decoded to reach one clip: a key frame may lie far before it."""
EXTENSIONS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"})
_FORMATS = "mov,matroska,avi,gif"
_OPTIONS = {
    "format_whitelist": _FORMATS,
    "protocol_whitelist": "file",
    "max_pixels": str(MOST_PIXELS),
    "fflags": "+genpts",
}
_GIF_END = b";"
_GIF_TAIL = 64
_MISSING = 0.5
_QUARTER = 90

Source = Path | bytes
Shown = tuple[float, Any]
"""Seconds, and a decoded frame."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """When frames are shown, in seconds from the first one.

    Attributes:
        times: ``[N]`` ascending.
        end: of the last frame.
        origin: of the first frame, on the stream's own clock.
    """

    times: np.ndarray
    end: float
    origin: float


@contextmanager
def opened(source: Source) -> Iterator[tuple[Any, Any]]:
    """The container and its first video stream, within the limits.

    Raises:
        UnreadableItem: no such file, not a video, damaged (here or in what is done with it), or beyond the limits.
    """
    try:
        if isinstance(source, Path) and not source.is_file():
            raise UnreadableItem("cannot read the video: no such file", given=str(source))
        file = str(source.resolve()) if isinstance(source, Path) else io.BytesIO(source)
        with av.open(file, options=_OPTIONS) as container:
            yield container, _checked(container)
    except UnreadableItem:
        raise
    except (av.error.FFmpegError, OSError, ValueError, MemoryError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnreadableItem(f"cannot read the video: {reason}") from None


def timeline(container: Any, stream: Any, source: Source) -> Timeline:
    """The times of all frames, from their packets alone; nothing is decoded.

    Raises:
        UnreadableItem: no frames, too many, too long, or cut short.
    """
    times: list[int] = []
    last = 0
    for packet in container.demux(stream):
        shown = packet.dts if packet.pts is None else packet.pts
        if shown is None or packet.size == 0:
            continue
        times.append(shown)
        last = packet.duration or last
        if len(times) > MOST_FRAMES:
            raise _beyond("more frames", f"up to {MOST_FRAMES}")
    if not times:
        raise UnreadableItem("the video has no frames")
    seconds = np.sort(np.array(times, dtype=np.float64)) * float(stream.time_base)
    step = last * float(stream.time_base) or _usual_step(seconds)
    found = Timeline(seconds - seconds[0], float(seconds[-1] - seconds[0]) + step, float(seconds[0]))
    if found.end > MOST_SECONDS:
        raise _beyond(f"{found.end:.0f} seconds", f"up to {MOST_SECONDS}")
    _check_whole(container, stream, source, found)
    return found


def frames(container: Any, stream: Any, budget: int = MOST_DECODED) -> Generator[Shown]:
    """Seconds on the stream's own clock, and the decoded frame.

    Raises:
        UnreadableItem: a damaged frame, or more than ``budget`` pixels to decode.
    """
    spent = 0
    for frame in container.decode(stream):
        spent += frame.width * frame.height
        if frame.is_corrupt or frame.time is None:
            raise UnreadableItem("a frame of the video is damaged")
        if spent > budget:
            raise _beyond(f"{spent} pixels to decode", f"up to {budget}")
        yield float(frame.time), frame


def frames_from(source: Source, line: Timeline, begin: float, budget: int = MOST_DECODED) -> Generator[Shown]:
    """`frames`, with times as in ``line``, from at or before ``begin`` seconds.

    Raises:
        UnreadableItem: as `frames`.
    """
    with opened(source) as (container, stream):
        walk = frames(container, stream, budget)
        first = _sought(container, stream, walk, line.origin + begin) if begin > 0 else None
        if first is not None or begin <= 0:
            yield from ((time - line.origin, frame) for time, frame in chain([first] if first else [], walk))
            return
    yield from frames_from(source, line, 0.0, budget)


def pixels(frame: Any, keep: int | None = None) -> np.ndarray:
    """``uint8 [H, W, 3]`` of a decoded frame, turned as the file says, its shorter side scaled down to ``keep``."""
    width, height = frame.width, frame.height
    if keep is not None and min(width, height) > keep:
        scale = keep / min(width, height)
        width, height = max(1, round(width * scale)), max(1, round(height * scale))
    array: np.ndarray = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="AREA")
    turns = round((frame.rotation or 0) / _QUARTER) % 4
    return np.ascontiguousarray(np.rot90(array, turns))


def _sought(container: Any, stream: Any, walk: Iterator[Shown], seconds: float) -> Shown | None:
    """The first frame from the key frame before ``seconds``; ``None`` where the file's index does not lead there."""
    try:
        container.seek(int(seconds / stream.time_base), stream=stream, backward=True)
    except av.error.FFmpegError:
        return None
    first = next(walk, None)
    return first if first is not None and first[0] <= seconds else None


def _checked(container: Any) -> Any:
    if not container.streams.video:
        raise UnreadableItem("the file has no video stream", allowed=sorted(EXTENSIONS))
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise UnreadableItem("nothing here decodes the video's codec")
    if stream.width * stream.height > MOST_PIXELS:
        raise _beyond(f"{stream.width} x {stream.height} pixels", f"up to {MOST_PIXELS}")
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def _check_whole(container: Any, stream: Any, source: Source, found: Timeline) -> None:
    """Refuse a file that ends before its header says, or a GIF without its end mark."""
    short = bool(stream.frames) and len(found.times) < stream.frames
    if not container.streams.audio and container.duration:
        short |= found.end < container.duration / av.time_base - _MISSING
        short |= found.end < container.duration / av.time_base * (1 - _MISSING / 5)
    if container.format.name == "gif":
        short |= not _tail(source).rstrip(b"\0").endswith(_GIF_END)
    if short:
        raise UnreadableItem("the video is cut short", given=f"{len(found.times)} frames, {found.end:.2f} s")


def _tail(source: Source) -> bytes:
    if isinstance(source, bytes):
        return source[-_GIF_TAIL:]
    with source.open("rb") as file:
        file.seek(max(0, source.stat().st_size - _GIF_TAIL))
        return file.read()


def _usual_step(seconds: np.ndarray) -> float:
    return float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.0


def _beyond(given: str, allowed: str) -> UnreadableItem:
    return UnreadableItem("the video is too large to decode", given=given, allowed=allowed, cure="cut or scale it down")
