"""A folder of files: sub-folders are labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from miaobi.data.sources._base import Ignored, Problem, Record, Source, digest, file_state
from miaobi.errors import DataError

PART_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}
PART_NAMES |= {"dev": "validation", "test": "test", "testing": "test"}


class FolderSource(Source):
    """Every file below a folder whose suffix is the modality's.

    Columns: ``content`` (the file), ``name`` (its stem), ``label`` (the first sub-folder, ``None`` at the top),
    ``text`` (a ``.txt`` file of the same stem beside it, where the modality is not text), and ``split`` where the top
    folders are called train, validation and test (``label`` is then the folder below). Hidden files are passed over,
    links that leave the folder are refused.

    Args:
        root: the folder.
        extensions: the modality's suffixes.
        sidecars: ``.txt`` files describe the file of the same stem.

    Raises:
        DataError: there is no file at all.
    """

    def __init__(self, root: Path, extensions: frozenset[str], *, sidecars: bool = False) -> None:
        super().__init__(str(root))
        self._root = root.resolve()
        self._extensions = extensions
        self._sidecars = sidecars
        self._has_parts = self._named_parts()
        if not any(True for _ in self._walk()):
            raise DataError("the folder is empty", given=str(root), cure="put the files in it, sub-folders as labels")

    @property
    def columns(self) -> Sequence[str]:
        names = ["content", "name", "label"]
        return [*names, *(["text"] if self._sidecars else []), *(["split"] if self._has_parts else [])]

    @property
    def content(self) -> str:
        return "content"

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        self.ignored = Ignored()
        found = 0
        for path in self._walk():
            where = path.relative_to(self._root).as_posix()
            if path.suffix.lower() in self._extensions:
                found += 1
                yield self._record(path, where)
            elif not (self._sidecars and path.suffix.lower() == ".txt"):
                self.ignored.add(where)
        if not found:
            raise DataError(
                "the folder has no file of the modality",
                given=f"{self.ignored.count} files: {', '.join(self.ignored.examples[:5])} in {self.name}",
                allowed=self._extensions,
                cure="check the modality, or convert the files",
            )

    def fingerprint(self, columns: Sequence[str]) -> str:
        return digest(file_state(path) for path in self._walk() if path.is_file())

    def _record(self, path: Path, where: str) -> Record | Problem:
        if path.is_symlink() and not path.resolve().is_relative_to(self._root):
            return Problem(where, "the link leaves the folder")
        parts = path.relative_to(self._root).parts[:-1]
        values: dict[str, object] = {"content": path.resolve(), "name": path.stem}
        if self._has_parts:
            values["split"] = PART_NAMES.get(parts[0].lower()) if parts else None
            parts = parts[1:]
        values["label"] = parts[0] if parts else None
        if self._sidecars:
            values["text"] = self._sidecar(path)
        return Record(where, values)

    def _sidecar(self, path: Path) -> Path | None:
        sidecar = path.with_suffix(".txt")
        inside = sidecar.is_file() and sidecar.resolve().is_relative_to(self._root)
        return sidecar if inside else None

    def _walk(self) -> Iterator[Path]:
        """Files in sorted order; linked folders are not entered, so nothing is read twice."""
        for folder, subfolders, names in os.walk(self._root):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    yield Path(folder, name)

    def _named_parts(self) -> bool:
        names = {path.name.lower() for path in self._root.iterdir() if path.is_dir() and not path.name.startswith(".")}
        return "train" in names and len(names) > 1 and names <= PART_NAMES.keys()
