"""CSV and TSV tables with a header."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from miaobi.data.sources._base import Problem, Record, Source, digest, file_state
from miaobi.data.sources._files import Located
from miaobi.data.sources._lines import MOST_LINE_BYTES, read_lines
from miaobi.errors import DataError


class DelimitedSource(Source):
    """Rows of a UTF-8 table; a row that is broken is named by its line number.

    Args:
        path: the file; its first row names the columns.
        delimiter: a comma or a tab.

    Raises:
        DataError: empty, or the header has empty or repeated names.
    """

    def __init__(self, path: Path, delimiter: str) -> None:
        super().__init__(str(path))
        self.path = path.resolve()
        self.file_columns: tuple[str, ...] = ()
        self._delimiter = delimiter
        csv.field_size_limit(max(csv.field_size_limit(), MOST_LINE_BYTES))
        self._columns = self._header()

    @property
    def columns(self) -> Sequence[str]:
        return self._columns

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        located = Located(self.path.parent, self.file_columns)
        wanted = self._columns if columns is None else [name for name in self._columns if name in columns]
        places = [(name, self._columns.index(name)) for name in wanted]
        for number, row, reason in itertools.islice(self._rows(), 1, None):
            where = f"{self.path.name} line {number}"
            if reason or len(row) != len(self._columns):
                yield Problem(where, reason or f"{len(row)} fields where the header has {len(self._columns)}")
            else:
                yield located.record(where, {name: row[place] for name, place in places})

    def fingerprint(self, columns: Sequence[str]) -> str:
        files = [name for name in columns if name in self.file_columns]
        located = Located(self.path.parent, files)
        return digest([file_state(self.path), *(located.states(self.records(files)) if files else ())])

    def _rows(self) -> Iterator[tuple[int, list[str], str | None]]:
        """Line number of a row's start, its fields, and what is wrong with it; blank lines are passed over."""
        broken: list[tuple[int, str]] = []
        reader = csv.reader(self._texts(broken), delimiter=self._delimiter, strict=True)
        while True:
            start = reader.line_num + 1
            broken.clear()
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                broken.append((start, f"not a table row: {error}"))
            if broken:
                number, reason = broken[0]
                yield number, [], reason
            elif row:
                yield start, row, None

    def _texts(self, broken: list[tuple[int, str]]) -> Iterator[str]:
        for number, text, reason in read_lines(self.path):
            if reason:
                broken.append((number, reason))
            yield text or "\n"

    def _header(self) -> list[str]:
        for _, row, reason in self._rows():
            if reason:
                raise DataError(f"the header cannot be read: {reason}", given=self.name, cure="save the file as UTF-8")
            names = [name.strip() for name in row]
            if len(set(names)) != len(names) or not all(names):
                raise DataError(
                    "the header has empty or repeated names", given=names, cure="give each column its own name"
                )
            return names
        raise DataError(
            "the table is empty", given=self.name, cure="the first line names the columns, the rest are items"
        )
