"""From sound files and arrays to canonical sound: mono, 16 bits, bounded.

libsndfile decodes; it reads WAV, AIFF and Ogg files that were cut short without a word, so their containers are
looked at first.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from miaobi.errors import UnreadableItem
from miaobi.modalities._waveform import Sound, resampled

MOST_BYTES = 256 << 20
MOST_SECONDS = 600
MOST_FRAMES = 48_000 * MOST_SECONDS
"""Longest sound: ten minutes, at 48 kHz or less; it is refused before more of it is decoded."""
LEAST_RATE, MOST_RATE = 1000, 384_000
EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"})
_FORMATS = frozenset({"WAV", "WAVEX", "RF64", "FLAC", "OGG", "MP3", "AIFF"})
_BLOCK = 1 << 16
_MOST_CHANNELS = 16
# The length of an MP3 file without a tag is an estimate in whole frames.
_SLACK = {"MP3": 1152}
_UNKNOWN_SIZES = (0, 2**32 - 1)
_OGG_PAGE, _OGG_LAST = struct.Struct("<4sBBqIIIB"), 4


def read_sound(raw: Any, rate: int | None, most_rate: int) -> Sound:
    """The sound in a path, bytes, a table's ``{"bytes", "path"}`` or ``{"array", "sampling_rate"}``, or a `Sound`.

    Channels are averaged. A peak beyond full scale (floating-point files) is scaled down to it.

    Args:
        raw: arrays are ``[n]`` or ``[n, channels]``: floating-point in [-1, 1], or integers at their type's full scale.
        rate: resample to this rate; ``None`` keeps the sound's own up to ``most_rate``.
        most_rate: a higher rate is brought down to it.

    Raises:
        UnreadableItem: no sound, broken, cut short, empty, too long, or not finite.
    """
    if isinstance(raw, Sound):
        floats, own = raw.floats, raw.rate
    elif isinstance(raw, Mapping) and raw.get("array") is not None:
        floats, own = _from_array(raw["array"], raw.get("sampling_rate"))
    else:
        floats, own = _decoded(_bytes_of(raw))
    if not len(floats):
        raise UnreadableItem("the sound is empty", given="0 samples")
    if not np.isfinite(floats).all():
        raise UnreadableItem("the sound has samples that are not finite numbers")
    peak = float(np.abs(floats).max())
    made = resampled(floats / np.float32(peak) if peak > 1 else floats, own, rate or min(own, most_rate))
    if not len(made):
        raise UnreadableItem("the sound is too short to resample", given=f"{len(floats)} samples at {own} Hz")
    return Sound.of(made, rate or min(own, most_rate))


def _bytes_of(raw: Any) -> bytes:
    if isinstance(raw, Mapping):
        raw = raw.get("bytes") or Path(str(raw.get("path")))
    if isinstance(raw, bytes | bytearray | memoryview):
        data = bytes(raw)
    elif isinstance(raw, str | Path):
        data = _file_bytes(Path(raw))
    else:
        allowed = "a path, the bytes of a sound file, or {array, sampling_rate}"
        raise UnreadableItem("not a sound", given=type(raw).__name__, allowed=allowed)
    if len(data) > MOST_BYTES:
        raise UnreadableItem("the sound file is too large", allowed=f"up to {MOST_BYTES >> 20} MiB")
    return data


def _file_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UnreadableItem(f"cannot read {path}: {error}") from None


def _from_array(array: Any, rate: Any) -> tuple[np.ndarray, int]:
    values = np.asarray(array)
    if values.dtype.kind not in "fi" or values.ndim not in (1, 2):
        given = f"{values.dtype} {list(values.shape)}"
        raise UnreadableItem("not a sound", given=given, allowed="numbers [n] or [n, channels]")
    if rate is None or int(rate) != rate:
        raise UnreadableItem("an array of samples needs its rate", given=rate, cure="give {array, sampling_rate}")
    _check_extent(len(values), int(rate))
    full = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype).max) + 1
    floats = values.astype(np.float32) / np.float32(full)
    return _mono(floats), int(rate)


def _decoded(data: bytes) -> tuple[np.ndarray, int]:
    _check_container(data)
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return _frames(file), file.samplerate
    except UnreadableItem:
        raise
    except Exception as error:  # noqa: BLE001 - decoders raise anything at all on broken files
        raise UnreadableItem(f"cannot read the sound: {getattr(error, 'error_string', error)}") from None


def _frames(file: soundfile.SoundFile) -> np.ndarray:
    """All of an open file, mono, a block at a time: a header may promise less than comes."""
    if file.format not in _FORMATS:
        raise UnreadableItem("not a known sound format", given=file.format, allowed=_FORMATS)
    if file.channels > _MOST_CHANNELS:
        raise UnreadableItem("too many channels", given=file.channels, allowed=f"up to {_MOST_CHANNELS}")
    _check_extent(file.frames, file.samplerate)
    blocks: list[np.ndarray] = []
    read = 0
    while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
        read += len(block)
        _check_extent(read, file.samplerate)
        blocks.append(_mono(block))
    if read < file.frames - _SLACK.get(file.format, 0):
        raise _cut_short(f"{read} of {file.frames} frames")
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def _mono(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1, dtype=np.float32) if values.ndim == 2 and values.shape[1] else values.reshape(-1)


def _check_extent(frames: int, rate: int) -> None:
    if not LEAST_RATE <= rate <= MOST_RATE:
        raise UnreadableItem("the rate is out of range", given=rate, allowed=f"{LEAST_RATE} to {MOST_RATE} Hz")
    if frames > min(MOST_FRAMES, MOST_SECONDS * rate):
        given = f"{frames / rate:.0f} s at {rate} Hz"
        allowed = f"up to {MOST_SECONDS} s, at up to 48 kHz"
        raise UnreadableItem("the sound is too long", given=given, allowed=allowed, cure="cut it into pieces first")


def _check_container(data: bytes) -> None:
    """Refuse a RIFF, AIFF or Ogg file that ends before it should."""
    if data[:4] in (b"RIFF", b"FORM") and len(data) >= 8:
        (size,) = struct.unpack("<I" if data[:4] == b"RIFF" else ">I", data[4:8])
        # A writer that could not seek back leaves no size; one byte of padding is often left out.
        if size not in _UNKNOWN_SIZES and len(data) < size + 7:
            raise _cut_short(f"{len(data)} of {size + 8} bytes")
    elif data[:4] == b"OggS":
        start = data.rfind(b"OggS")
        if len(data) - start < _OGG_PAGE.size or not data[start + 5] & _OGG_LAST:
            raise _cut_short("an Ogg stream without an end")
        segments = data[start + _OGG_PAGE.size - 1]
        table = data[start + _OGG_PAGE.size : start + _OGG_PAGE.size + segments]
        if len(data) < start + _OGG_PAGE.size + segments + sum(table):
            raise _cut_short("an Ogg page without its end")


def _cut_short(given: str) -> UnreadableItem:
    return UnreadableItem("the sound is cut short", given=given, cure="fetch or export the file again")
