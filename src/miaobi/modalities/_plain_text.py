"""From what a source holds to a clean string: UTF-8, normalised, without control characters."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import Any, Literal

from miaobi.errors import UnreadableItem
from miaobi.types import Settings

MOST_BYTES = 2 << 30
_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LINE_BREAKS = re.compile("\r\n?|\x85|\u2028|\u2029")
_CONTROLS = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f]+")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BLANKS = re.compile(r"[^\S\n]+")
_BLANKS_AT_BREAKS = re.compile(r" ?\n ?")


class Normalisation(Settings):
    """How a text is cleaned.

    Every kind of line break becomes a line feed; a byte order mark and control characters other than tab are removed.

    Attributes:
        unicode: the normal form; ``none`` leaves code points alone.
        whitespace: ``keep``, or ``collapse`` runs of blanks to one space, and to none at the ends of a line.
    """

    unicode: Literal["NFC", "NFKC", "none"] = "NFC"
    whitespace: Literal["keep", "collapse"] = "keep"


def read_text(raw: Any, policy: Normalisation) -> str:
    """The text in a string, in UTF-8 bytes, or in the file at a ``Path``.

    Raises:
        UnreadableItem: not UTF-8 (with the byte offset), a NUL or a lone surrogate (with the offset), empty, larger
            than 2 GiB, or another type.
    """
    text = clean(_string(raw), policy)
    if not text:
        raise UnreadableItem("the text is empty", given=raw)
    return text


def clean(text: str, policy: Normalisation) -> str:
    """A string under the policy, in linear time.

    Raises:
        UnreadableItem: a NUL or a lone surrogate, with its offset in characters.
    """
    _refuse(text)
    text = _LINE_BREAKS.sub("\n", text)
    text = _CONTROLS.sub("", text)
    if policy.unicode != "none" and not unicodedata.is_normalized(policy.unicode, text):
        text = unicodedata.normalize(policy.unicode, text)
    if policy.whitespace == "collapse":
        text = _BLANKS_AT_BREAKS.sub("\n", _BLANKS.sub(" ", text)).strip(" ")
    return text


def _refuse(text: str) -> None:
    nul = text.find("\0")
    if nul >= 0:
        raise UnreadableItem(
            f"a NUL character at offset {nul}: this is not text", cure="remove the file or the character"
        )
    surrogate = _SURROGATE.search(text)
    if surrogate:
        raise UnreadableItem(f"half of a UTF-16 pair at offset {surrogate.start()}", cure="save the source as UTF-8")


def _string(raw: Any) -> str:
    if isinstance(raw, str):
        return raw
    if isinstance(raw, Path):
        return _decode(_file(raw))
    if isinstance(raw, bytes | bytearray | memoryview):
        return _decode(bytes(raw))
    raise UnreadableItem("not a text", given=raw, allowed="a string, UTF-8 bytes, or the Path of a text file")


def _file(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise UnreadableItem(
                "a text file is too large",
                given=f"{size} bytes",
                allowed=f"up to {MOST_BYTES >> 30} GiB",
                cure="split it",
            )
        return path.read_bytes()
    except OSError as error:
        raise UnreadableItem(f"cannot read the file: {error}") from None


def _decode(data: bytes) -> str:
    try:
        return data.removeprefix(_UTF8_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + (len(_UTF8_MARK) if data.startswith(_UTF8_MARK) else 0)
        utf16 = " (it begins like UTF-16)" if data.startswith(_UTF16_MARKS) else ""
        raise UnreadableItem(
            f"not UTF-8: {error.reason} at byte {offset}{utf16}",
            given=data[offset : offset + 8],
            cure="save the source as UTF-8",
        ) from None
