"""Files that a table names: relative to the table's folder, and never outside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from miaobi.data.sources._base import Problem, Record, file_state


class Located:
    """Turns the values of file columns into paths.

    Args:
        base: the table's folder.
        columns: those whose text is the path of a file.
    """

    def __init__(self, base: Path, columns: Iterable[str]) -> None:
        self._base = base.resolve()
        self._columns = frozenset(columns)

    def record(self, where: str, values: Mapping[str, Any]) -> Record | Problem:
        """The record with paths in place of their names, and bytes in place of ``{bytes, path}`` structures."""
        located = {name: _payload(value) for name, value in values.items()}
        for name in self._columns & located.keys():
            if isinstance(located[name], str) and located[name]:
                path = self._resolve(located[name])
                if isinstance(path, str):
                    return Problem(where, path)
                located[name] = path
        return Record(where, located)

    def states(self, records: Iterable[Record | Problem]) -> Iterator[object]:
        """What the named files' fingerprint consists of."""
        for record in records:
            if isinstance(record, Record):
                yield from (file_state(record.values[name]) for name in self._paths(record))

    def _paths(self, record: Record) -> Sequence[str]:
        return [name for name in sorted(self._columns) if isinstance(record.values.get(name), Path)]

    def _resolve(self, name: str) -> Path | str:
        """The path, or the reason why there is none."""
        try:
            path = (self._base / name).resolve()
            if not path.is_relative_to(self._base):
                return f"the file leaves the table's folder: {name[:200]}"
            return path if path.is_file() else f"no such file beside the table: {name[:200]}"
        except (OSError, ValueError) as error:
            return f"not a file name: {error}"


def _payload(value: Any) -> Any:
    """Hub tables hold files as ``{"bytes": ..., "path": ...}``."""
    if isinstance(value, dict) and value.keys() <= {"bytes", "path"}:
        return value.get("bytes") or value.get("path")
    return value
