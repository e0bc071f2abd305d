"""The cache of prepared data: a folder for each content, complete or absent."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache as memoised
from pathlib import Path
from typing import Any

from miaobi.data.shelf import saving
from miaobi.errors import CorruptFile

_MANIFEST = "manifest.json"
_STALE_SECONDS = 24 * 3600


class Cache:
    """Prepared data sets under a folder.

    Args:
        root: the cache folder; made when it is first written to.
    """

    def __init__(self, root: Path) -> None:
        self._folder = root / "prepared"

    def path(self, key: str) -> Path:
        """Where the data of a key is or would be."""
        return self._folder / key

    def find(self, key: str) -> dict[str, Any] | None:
        """The manifest of a key's data, if it is there.

        Raises:
            CorruptFile: it is there but damaged.
        """
        path = self.path(key) / _MANIFEST
        if not path.is_file():
            return None
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            sizes = {name: (path.parent / name).stat().st_size for name in manifest["files"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path.parent, str(error)) from None
        if sizes != manifest["files"]:
            raise _damaged(path.parent, "a file has another size")
        return dict(manifest)

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """An empty folder beside the prepared data, removed at the end unless published."""
        with saving():
            self._folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            folder = Path(tempfile.mkdtemp(prefix=".making-", dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, key: str, manifest: dict[str, Any]) -> None:
        """Move a finished folder to its place at once; a process that was faster wins, its data being the same."""
        files = {
            path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()
        }
        with saving():
            text = json.dumps(manifest | {"files": files}, ensure_ascii=False, indent=1)
            (folder / _MANIFEST).write_text(text, encoding="utf-8")
            try:
                folder.rename(self.path(key))
            except OSError:
                if not self.path(key).is_dir():
                    raise

    def _sweep(self) -> None:
        """Remove what killed processes left more than a day ago."""
        for left in self._folder.glob(".making-*"):
            if time.time() - left.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def folder_digest(folder: Path) -> str:
    """Changes with the name or content of any file in ``folder``."""
    hasher = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            hasher.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            hasher.update(path.read_bytes())
    return hasher.hexdigest()


@memoised
def code_version() -> str:
    """Changes with the code that prepares data, so that nothing stale is used after an update."""
    return _code("data", "modalities")


@memoised
def represented_code() -> str:
    """Changes with the code that latents, codes and embeddings are made by."""
    return _code("families", "models", "networks", "sampling")


def _code(*folders: str) -> str:
    hasher = hashlib.blake2b(digest_size=16)
    package = Path(__file__).resolve().parent.parent
    for path in sorted(path for folder in folders for path in (package / folder).rglob("*.py")):
        hasher.update(path.read_bytes())
    return hasher.hexdigest()


def _damaged(folder: Path, reason: str) -> CorruptFile:
    return CorruptFile(
        f"the prepared data in {folder} is damaged: {reason}", cure="delete that folder; it is made again"
    )
