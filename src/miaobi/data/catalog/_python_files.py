"""The source files of Python's standard library, as the interpreter that runs has it."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.recipe import Plugin

_LEFT_OUT = frozenset({"test", "tests", "idle_test", "idlelib", "site-packages", "dist-packages", "__pycache__"})
# Written by the build, not by people, and with the paths of the machine that built it.
_BUILT = "_sysconfigdata"
_MOST_BYTES = 1 << 20


class Library(Catalog):
    """Base of the data sets made of the standard library.

    What there is depends on the interpreter and on who packaged it: Debian, say, ships some modules apart. So prepared
    data is keyed by what was read, not by the version alone.
    """

    licence = "PSF-2.0 (Python Software Foundation and contributors)"
    version = f"standard library of Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    modality: ClassVar[Plugin] = "text"

    def pinned(self, cache: Path) -> str:
        """The interpreter's version and a digest of the files."""
        return f"{self.version}, files {fingerprint(library())}"


def library() -> Path:
    """The folder of the standard library."""
    return Path(sysconfig.get_path("stdlib"))


def modules(root: Path) -> Iterator[Record]:
    """Records of the ``.py`` files under ``root`` in order of path, those that are UTF-8, not empty and below 1 MiB.

    Columns: ``text``, ``title`` (the module's dotted name) and ``package`` (its first part). Tests, IDLE and installed
    packages are left out.
    """
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if _LEFT_OUT.intersection(parts) or path.name.startswith(_BUILT) or path.is_symlink():
            continue
        if text := _readable(path):
            title = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
            yield {"text": text, "title": title, "package": parts[0]}


def fingerprint(root: Path) -> str:
    """Changes with the name or the text of any of the `modules`."""
    hasher = hashlib.blake2b(digest_size=8)
    for module in modules(root):
        for part in (module["title"], module["text"]):
            data = part.encode("utf-8")
            hasher.update(b"%d:" % len(data))
            hasher.update(data)
    return hasher.hexdigest()


def _readable(path: Path) -> str | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError):
        return None
