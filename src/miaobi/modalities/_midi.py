"""Checking a MIDI file before symusic reads it: version 0.5.9 crashes the process on some damaged ones."""

from __future__ import annotations

import re
from typing import Any

from symusic import Score

from miaobi.errors import UnreadableItem

MAX_FILE_BYTES = 16 << 20

_TIME = rb"(?>[\x80-\xff]{0,3}[\x00-\x7f])"
_CHANNEL_EVENTS = re.compile(
    rb"(?>TIME(?>[\x80-\xbf\xe0-\xef]DATA{2}(?>TIMEDATA{2})*+|[\xc0-\xdf]DATA(?>TIMEDATA)*+))*+".replace(
        b"TIME", _TIME
    ).replace(b"DATA", rb"[\x00-\x7f]")
)
"""Events with one or two data bytes, and those after them that repeat their status."""
_SIZED_EVENT = re.compile(_TIME + rb"(?>\xff([\x00-\x7f])|[\xf0\xf7])(" + _TIME + rb")")
"""Meta (with its type) and system exclusive events up to their size."""
_END_OF_TRACK = b"\x2f"


def read_midi(data: bytes) -> Any:
    """The ``symusic.Score`` in the bytes of a MIDI file, as it stands.

    Raises:
        UnreadableItem: not a whole, well-formed MIDI file.
    """
    _check(data)
    try:
        return Score.from_midi(data)
    except (RuntimeError, ValueError, UnicodeDecodeError) as error:
        raise UnreadableItem(f"damaged MIDI: {error}") from None


def _check(data: bytes) -> None:
    if len(data) > MAX_FILE_BYTES:
        raise UnreadableItem("MIDI file is too large", given=f"{len(data)} bytes", allowed=f"{MAX_FILE_BYTES}")
    if data[:4] != b"MThd" or len(data) < 14:
        raise UnreadableItem("not a MIDI file: it does not start with a MIDI header", given=data[:8])
    at, tracks = 0, 0
    while at < len(data):
        name, end = data[at : at + 4], at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        if end > len(data):
            raise UnreadableItem(f"truncated MIDI: the chunk at byte {at} ends at {end}, the file at {len(data)}")
        if name == b"MTrk":
            _check_track(data, at + 8, end)
            tracks += 1
        at = end
    declared = int.from_bytes(data[10:12], "big")
    if tracks < declared:
        raise UnreadableItem(f"truncated MIDI: {tracks} of {declared} tracks are there")


def _check_track(data: bytes, at: int, end: int) -> None:
    while True:
        events = _CHANNEL_EVENTS.match(data, at, end)
        at = events.end() if events else at
        sized = _SIZED_EVENT.match(data, at, end)
        if sized is None:
            raise UnreadableItem(f"damaged MIDI: no event can be read at byte {at}")
        at = sized.end() + _number(sized[2])
        if at > end:
            raise UnreadableItem(f"damaged MIDI: the event at byte {sized.start()} reaches past its track")
        if sized[1] == _END_OF_TRACK:
            return


def _number(digits: bytes) -> int:
    """A MIDI variable-length quantity: seven bits a byte, most significant first."""
    value = 0
    for digit in digits:
        value = value << 7 | digit & 0x7F
    return value
