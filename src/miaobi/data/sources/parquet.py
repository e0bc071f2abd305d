"""Parquet files, read a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow
import pyarrow.parquet

from miaobi.data.sources._base import Problem, Record, Source, digest, file_state
from miaobi.data.sources._files import Located
from miaobi.errors import DataError

_ROWS = 128


class ParquetSource(Source):
    """Rows of a Parquet file.

    Args:
        path: the file.

    Raises:
        DataError: not a Parquet file, or cut short.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path.resolve()
        self.file_columns: tuple[str, ...] = ()
        try:
            self._columns = list(pyarrow.parquet.read_schema(self.path).names)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"not a readable Parquet file: {error}", given=self.name, cure="write the file again"
            ) from None

    @property
    def columns(self) -> Sequence[str]:
        return self._columns

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        located = Located(self.path.parent, self.file_columns)
        wanted = self._columns if columns is None else [name for name in self._columns if name in columns]
        number = 0
        try:
            with pyarrow.parquet.ParquetFile(self.path, memory_map=True) as file:
                for batch in file.iter_batches(_ROWS, columns=wanted):
                    for values in batch.to_pylist():
                        number += 1
                        yield located.record(f"{self.path.name} row {number}", values)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{self.name} breaks after row {number}: {error}", cure="write the file again") from None

    def fingerprint(self, columns: Sequence[str]) -> str:
        files = [name for name in columns if name in self.file_columns]
        located = Located(self.path.parent, files)
        return digest([file_state(self.path), *(located.states(self.records(files)) if files else ())])
