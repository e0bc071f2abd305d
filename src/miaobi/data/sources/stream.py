"""One long text, read in chunks of whole lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from miaobi.data.sources._base import Problem, Record, Source, digest, file_state
from miaobi.data.sources._lines import read_lines
from miaobi.errors import DataError

CHUNK = 1 << 18
"""Characters after which a chunk ends, at the next line end."""
_MOST_LINE_BYTES = 1 << 30


class TextStream(Source):
    """A single ``.txt``: its windows are the items. Records are chunks of it; a line that is not UTF-8 is a problem.

    Args:
        path: the file.

    Raises:
        DataError: the file is empty.
    """

    stream: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path.resolve()
        if not self.path.stat().st_size:
            raise DataError("the text is empty", given=self.name, cure="name a file with text in it")

    @property
    def columns(self) -> Sequence[str]:
        return ["content"]

    @property
    def content(self) -> str:
        return "content"

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        lines: list[str] = []
        size, first = 0, 1
        for number, text, reason in read_lines(self.path, _MOST_LINE_BYTES):
            if reason:
                yield Problem(f"{self.path.name} line {number}", reason)
                continue
            lines.append(text)
            size += len(text)
            if size >= CHUNK:
                yield self._record(lines, first)
                lines, size, first = [], 0, number + 1
        if size:
            yield self._record(lines, first)

    def fingerprint(self, columns: Sequence[str]) -> str:
        return digest([file_state(self.path)])

    def _record(self, lines: Sequence[str], first: int) -> Record:
        return Record(f"{self.path.name} from line {first}", {"content": "".join(lines)})
