"""A folder that is written whole or not at all, where there is room for it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from miaobi.errors import RunFolderError, SaveFailed

Free = Callable[[Path], int]
"""Bytes that can be written to an existing folder."""
_BESIDE = 16 << 20
"""Room for tokenizers and descriptions beside the weights."""


def free_bytes(folder: Path) -> int:
    """Bytes that are free where a folder is."""
    return shutil.disk_usage(folder).free


def require_unused(out: Path) -> None:
    """Refuse to write where something is.

    Raises:
        RunFolderError: a file or a folder that is not empty.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        cure = "name another folder with -o, or empty this one"
        raise RunFolderError(
            "the output folder is used", given=str(out), allowed="an absent or empty folder", cure=cure
        )


@contextmanager
def new_folder(out: Path, size: int, free: Free) -> Iterator[Path]:
    """A folder beside ``out`` that becomes ``out`` at the end, and is removed where anything fails.

    Raises:
        RunFolderError: ``out`` is a file or not empty.
        SaveFailed: there is no room for ``size`` bytes, or the disk cannot be written.
    """
    require_unused(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _require_room(out.parent, size + _BESIDE, free)
        fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            yield fresh
            fresh.chmod(0o755)
            fresh.replace(out)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise SaveFailed(f"could not write the export {out}: {error}", cure="free some disk space") from None


def _require_room(folder: Path, size: int, free: Free) -> None:
    left = free(folder)
    if left < size:
        raise SaveFailed(
            "the disk has no room for the export",
            given=f"{left >> 20} MiB free in {folder}",
            allowed=f"at least {-(-size >> 20)} MiB",
            cure="free some disk space, or name a folder on another disk with -o",
        )
