"""Clips as files: H.264 in MP4 to keep, GIF to look at anywhere."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from miaobi.errors import SaveFailed
from miaobi.modalities._pictures import picture

_SAME = "threads=1:cpu-independent=1"
"""Otherwise x264's bytes depend on threads and on the processor."""
_ENCODERS = {
    "libx264": {"crf": "10", "preset": "medium", "x264-params": _SAME},
    "mpeg4": {"qmin": "2", "qmax": "3", "b": "20M"},
}
"""The first that this build of FFmpeg has is used."""
_LONGEST_CLOCK = 1001 * 240
_FASTEST_GIF = 20


def write_mp4(clip: np.ndarray, rate: float, path: Path) -> None:
    """``uint8 [T, H, W, C]`` as MP4 in 4:2:0, near lossless to the eye; an odd side gains a copy of its last row.

    Raises:
        SaveFailed: the file cannot be written.
    """
    with Mp4Writer(path, rate) as writer:
        for frame in clip:
            writer.append(frame)


class Mp4Writer:
    """An MP4 file that frames ``uint8 [H, W, C]`` of one size are appended to; the same frames give the same bytes.

    Args:
        path: where to.
        rate: frames a second.

    Raises:
        SaveFailed: the file cannot be written.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path = path
        self._rate = Fraction(rate).limit_denominator(1001)
        try:
            self._container = av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"})
        except (av.error.FFmpegError, OSError) as error:
            raise SaveFailed(f"{path} cannot be written: {error}") from None
        self._stream: av.VideoStream | None = None

    def append(self, frame: np.ndarray) -> None:
        """Add a frame."""
        height, width = frame.shape[:2]
        frame = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if frame.shape[2] == 1:
            frame = np.repeat(frame, 3, axis=2)
        stream = self._stream or self._start(frame.shape[1], frame.shape[0])
        self._mux(stream, av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))

    def __enter__(self) -> Mp4Writer:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._stream is not None and error[0] is None:
                self._mux(self._stream, None)
        finally:
            self._container.close()

    def _start(self, width: int, height: int) -> av.VideoStream:
        name = next(name for name in _ENCODERS if name in av.codecs_available)
        stream = self._container.add_stream(name, rate=self._rate, options=_ENCODERS[name])
        assert isinstance(stream, av.VideoStream)  # noqa: S101 - an encoder of pictures makes a video stream
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        self._stream = stream
        return stream

    def _mux(self, stream: av.VideoStream, frame: av.VideoFrame | None) -> None:
        try:
            self._container.mux(stream.encode(frame))
        except (av.error.FFmpegError, OSError) as error:
            raise SaveFailed(f"{self._path} cannot be written: {error}") from None


def gif_bytes(clip: np.ndarray, rate: float) -> bytes:
    """``uint8 [T, H, W, C]`` as an endless GIF: grey exactly, colour in 256 shades a frame.

    Its clock counts hundredths of a second: frames are shown for the nearest number, and for 0.02 s at least.
    """
    pictures = [_palette(picture(frame)) for frame in clip]
    ends = np.rint(np.arange(1, len(clip) + 1) * 100 / rate).astype(np.int64)
    durations = np.maximum(np.diff(ends, prepend=0) * 10, _FASTEST_GIF).tolist()
    buffer = io.BytesIO()
    pictures[0].save(
        buffer, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False
    )
    return buffer.getvalue()


def _palette(frame: Image.Image) -> Image.Image:
    return frame if frame.mode == "L" else frame.quantize(256, dither=Image.Dither.NONE)
