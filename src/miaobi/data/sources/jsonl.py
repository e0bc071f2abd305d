"""JSONL: one JSON object a line."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from miaobi.data.sources._base import Problem, Record, Source, digest, file_state
from miaobi.data.sources._files import Located
from miaobi.data.sources._lines import read_lines
from miaobi.errors import DataError

_HEAD = 100


class JsonlSource(Source):
    """Objects of a UTF-8 file; a broken line is named by its number. Columns are the keys of the first 100 objects.

    Args:
        path: the file.

    Raises:
        DataError: none of the first 100 lines is an object.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path.resolve()
        self.file_columns: tuple[str, ...] = ()
        head = [found for _, found in itertools.islice(self._objects(), _HEAD) if isinstance(found, dict)]
        self._columns = list(dict.fromkeys(key for found in head for key in found))
        if not self._columns:
            raise DataError("no JSON object in the first lines", given=self.name, cure='write one {"text": ...} a line')

    @property
    def columns(self) -> Sequence[str]:
        return self._columns

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        located = Located(self.path.parent, self.file_columns)
        wanted = self._columns if columns is None else columns
        for where, found in self._objects():
            if isinstance(found, str):
                yield Problem(where, found)
            else:
                yield located.record(where, {name: found.get(name) for name in wanted})

    def fingerprint(self, columns: Sequence[str]) -> str:
        files = [name for name in columns if name in self.file_columns]
        located = Located(self.path.parent, files)
        return digest([file_state(self.path), *(located.states(self.records(files)) if files else ())])

    def _objects(self) -> Iterator[tuple[str, dict[str, Any] | str]]:
        """Where, and the object or what is wrong with it; blank lines are passed over."""
        for number, text, reason in read_lines(self.path):
            if reason or text.strip():
                yield f"{self.path.name} line {number}", reason or _parse(text)


def _parse(text: str) -> dict[str, Any] | str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        return f"not JSON: {error}"
    return found if isinstance(found, dict) else f"not a JSON object but a {type(found).__name__}"
