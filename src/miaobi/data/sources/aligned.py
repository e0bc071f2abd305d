"""Plain-text files whose lines belong together: line 7 of one translates line 7 of the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from miaobi.data.sources._base import Problem, Record, Source, digest, file_state
from miaobi.data.sources._lines import read_lines
from miaobi.errors import DataError, nearest

_CHUNK = 1 << 20


class AlignedSource(Source):
    """Items of one line a file, from two UTF-8 files or more.

    Columns are named by the files, without ``.txt``: ``old.txt`` and ``new.txt`` of a folder are ``old`` and ``new``;
    of files that begin alike, ``train.en`` and ``train.it`` are ``en`` and ``it``. A line that is blank or not UTF-8
    in one file makes the item unreadable, by the line's number. Only the columns in use are read, and only they have
    to be equally long.

    Args:
        place: after ``aligned:``: a folder, or how the files begin (``corpus/train``). Hidden files are passed over.

    Raises:
        DataError: fewer than two files, or two of one name.
    """

    def __init__(self, place: str) -> None:
        super().__init__(f"aligned:{place}")
        self._files = _found(Path(place).expanduser(), place)

    @property
    def columns(self) -> Sequence[str]:
        return list(self._files)

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        """
        Raises:
            DataError: the files in use are not equally long.
        """
        used = {name: path for name, path in self._files.items() if columns is None or name in columns}
        self._check(used)
        for rows in zip(*(read_lines(path) for path in used.values()), strict=True):
            values = {name: text.rstrip("\r\n") for name, (_, text, _) in zip(used, rows, strict=True)}
            reasons = [
                f"{used[name].name}: {reason or 'the line is blank'}"
                for name, (_, text, reason) in zip(used, rows, strict=True)
                if reason or not text.strip()
            ]
            where = f"line {rows[0][0]}"
            yield Problem(where, "; ".join(reasons)) if reasons else Record(where, values)

    def fingerprint(self, columns: Sequence[str]) -> str:
        return digest((name, file_state(path)) for name, path in self._files.items() if name in columns)

    def _check(self, used: Mapping[str, Path]) -> None:
        counts = {path.name: _count(path) for path in used.values()}
        if len(set(counts.values())) > 1:
            raise DataError(
                "the files do not have equally many lines, so it is not known which belong together",
                given=", ".join(f"{name}: {count} lines" for name, count in counts.items()),
                cure="give each item one line in every file, and move files that are not of the pairs elsewhere",
            )


def _found(place: Path, given: str) -> dict[str, Path]:
    """Files by column, in the order of their names."""
    folder, start = (place, "") if place.is_dir() else (place.parent, f"{place.name}.")
    beside = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    paths = [path for path in beside if path.name.startswith(start) and not path.name.startswith(".")]
    if len(paths) < 2:
        near = nearest(place.name, {path.name.partition(".")[0] for path in beside}) if start else []
        raise DataError(
            "aligned lines need two files or more",
            given=f"{given}: {', '.join(path.name for path in paths) or 'no file'}",
            allowed="aligned:FOLDER with one file a column, or aligned:FOLDER/START for START.en and START.it",
            cure=f"did you mean {' or '.join(near)}?" if near else "check the path",
        )
    files: dict[str, Path] = {}
    for path in paths:
        name = path.name[len(start) :].removesuffix(".txt")
        if name in files:
            raise DataError(
                "two files would be one column", given=f"{files[name].name} and {path.name}", cure="rename one of them"
            )
        files[name] = path.resolve()
    return files


def _count(path: Path) -> int:
    """Lines of a file, the last one with or without a line end."""
    count, last = 0, b"\n"
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return count + (last != b"\n")
