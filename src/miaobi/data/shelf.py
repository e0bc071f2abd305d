"""Arrow files written a little at a time and read through a memory map; nothing is unpickled."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from miaobi.errors import CorruptFile, SaveFailed

_FLUSH_BYTES = 4 << 20
_FLUSH_ROWS = 4096


@contextmanager
def saving() -> Iterator[None]:
    """Turns what a full or read-only disk raises into `SaveFailed`."""
    try:
        yield
    except OSError as error:
        cure = "free some disk space, or set MIAOBI_CACHE to a folder with more"
        raise SaveFailed(f"the data cache cannot be written: {error}", cure=cure) from None


class ShelfWriter:
    """Writes rows to an Arrow file, about 4 MiB of them in memory at a time.

    Args:
        path: the file.
        schema: its columns.

    Raises:
        SaveFailed: by any method, when the disk is full or not writable.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._rows: list[Sequence[Any]] = []
        self._bytes = 0
        self.count = 0
        with saving():
            self._file = pa.OSFile(str(path), "wb")
            self._writer = pa.ipc.new_file(self._file, schema)

    def append(self, row: Sequence[Any]) -> None:
        """Add a row: a value a column, in the schema's order."""
        self._rows.append(row)
        self._bytes += sum(len(value) for value in row if isinstance(value, bytes))
        self.count += 1
        if self._bytes >= _FLUSH_BYTES or len(self._rows) >= _FLUSH_ROWS:
            self._flush()

    def close(self) -> None:
        """Write what is left and the file's end."""
        with saving():
            self._flush()
            self._writer.close()
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()

    def _flush(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(values, field.type) for values, field in zip(columns, self._schema, strict=True)]
        with saving():
            self._writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))
        self._rows = []
        self._bytes = 0


class Shelf:
    """Rows of an Arrow file by number, without loading it.

    Args:
        path: as a `ShelfWriter` left it.

    Raises:
        CorruptFile: cut short or altered.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._file = pa.ipc.open_file(pa.memory_map(str(path)))
            sizes = [self._file.get_batch(number).num_rows for number in range(self._file.num_record_batches)]
        except (pa.ArrowException, OSError) as error:
            raise CorruptFile(f"{path} cannot be read: {error}", cure="delete the folder that it is in") from None
        self._starts = [0, *accumulate(sizes)]
        self._batch = lru_cache(maxsize=None)(self._file.get_batch)
        self._fixed = lru_cache(maxsize=None)(self._make_fixed)
        self._binary = lru_cache(maxsize=None)(self._make_binary)

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._file.schema.names)

    @property
    def metadata(self) -> Mapping[bytes, bytes]:
        """The schema's metadata."""
        return self._file.schema.metadata or {}

    def values(self, column: str, rows: Sequence[int]) -> list[Any]:
        """Python values of a column."""
        return [self._batch(part).column(column)[place].as_py() for part, place in map(self._locate, rows)]

    def binary(self, column: str, rows: Sequence[int]) -> list[np.ndarray]:
        """Rows of a binary column as read-only ``uint8`` views; an absent one is empty."""
        found = []
        for row in rows:
            part, place = self._locate(row)
            ends, data = self._binary(part, column)
            found.append(data[ends[place] : ends[place + 1]])
        return found

    def fixed(self, column: str, rows: Sequence[int]) -> np.ndarray:
        """Rows of a fixed-size binary column, a ``uint8 [len(rows), width]`` copy; an absent one is arbitrary."""
        places = [self._locate(row) for row in rows]
        return np.stack([self._fixed(part, column)[place] for part, place in places])

    def present(self, column: str) -> np.ndarray | None:
        """``[N]`` bool: where a column has a value; ``None`` where it has one everywhere."""
        columns = [self._batch(part).column(column) for part in range(len(self._starts) - 1)]
        if not any(found.null_count for found in columns):
            return None
        return np.concatenate([found.is_valid().to_numpy(zero_copy_only=False) for found in columns])

    def sizes(self, column: str) -> np.ndarray:
        """``[N]`` bytes of each row of a binary column."""
        parts = [np.diff(self._binary(part, column)[0]) for part in range(len(self._starts) - 1)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)

    def numbers(self, column: str) -> np.ndarray:
        """A whole column of numbers."""
        parts = [self._numbers(part, column) for part in range(len(self._starts) - 1)]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def span(self, column: str, start: int, end: int) -> np.ndarray:
        """Rows ``start`` to ``end`` of a column of numbers."""
        pieces = []
        while start < end:
            part, place = self._locate(start)
            piece = self._numbers(part, column)[place : place + end - start]
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def scan(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Every row's values of ``columns``, in order, one record batch in memory at a time."""
        for part in range(len(self._starts) - 1):
            batch = self._file.get_batch(part)
            yield from zip(*(batch.column(column).to_pylist() for column in columns), strict=True)

    def _locate(self, row: int) -> tuple[int, int]:
        part = bisect_right(self._starts, row) - 1
        if row < 0 or part >= len(self._starts) - 1:
            raise IndexError(f"row {row} of {len(self)}")
        return part, row - self._starts[part]

    def _numbers(self, part: int, column: str) -> np.ndarray:
        found: np.ndarray = self._batch(part).column(column).to_numpy(zero_copy_only=False)
        return found

    def _make_fixed(self, part: int, column: str) -> np.ndarray:
        array = self._batch(part).column(column)
        width = array.type.byte_width
        return np.frombuffer(array.buffers()[1], dtype=np.uint8)[: len(array) * width].reshape(len(array), width)

    def _make_binary(self, part: int, column: str) -> tuple[np.ndarray, np.ndarray]:
        array = self._batch(part).column(column)
        _, ends, data = array.buffers()
        held = np.zeros(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
        return np.frombuffer(ends, dtype=np.int32)[: len(array) + 1], held
