"""Lines of a UTF-8 file, bounded and numbered; what is wrong with a line does not stop the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOST_LINE_BYTES = 64 << 20
"""A longer line of a table is skipped and named."""


def read_lines(path: Path, limit: int = MOST_LINE_BYTES) -> Iterator[tuple[int, str, str | None]]:
    """``(number from 1, text, reason)``: text with its line end, and what is wrong with it.

    Bytes that are not UTF-8 become U+FFFD, so that quotes around them still pair; a line over the limit becomes empty.
    """
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(limit + 1):
            number += 1
            if len(raw) > limit:
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(limit)
                yield number, "", f"the line is longer than {limit >> 20} MiB"
                continue
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8"), None
            except UnicodeDecodeError as error:
                yield (
                    number,
                    raw.decode("utf-8", "replace"),
                    f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line",
                )
