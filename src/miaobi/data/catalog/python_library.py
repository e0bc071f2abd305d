"""The source code of Python's standard library, as it is on this machine; no network."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.recipe import Plugin

_LEFT_OUT = frozenset({"test", "tests", "idle_test", "idlelib", "site-packages", "dist-packages", "__pycache__"})
# Written by the build, not by people, and with the paths of the machine that built it.
_BUILT = "_sysconfigdata"
_MOST_BYTES = 1 << 20


class PythonLibrary(Catalog):
    """A file an item, titled by its module's dotted name; tests, IDLE and installed packages are left out.

    Files of one top-level package stay together in a split, because they are written alike. What there is depends on
    the interpreter and on who packaged it: Debian, say, ships some modules apart.
    """

    summary = "about 600 files of Python's standard library with their modules' names; needs no network"
    licence = "PSF-2.0 (Python Software Foundation and contributors)"
    version = f"standard library of Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    modality: ClassVar[Plugin] = "text"
    content = "text"
    conditions: ClassVar[Mapping[str, Plugin]] = {"title": "text"}
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "package"}

    def records(self, cache: Path) -> Iterator[Record]:
        return modules(Path(sysconfig.get_path("stdlib")))


def modules(root: Path) -> Iterator[Record]:
    """Records of the ``.py`` files under ``root`` in order of path, those that are UTF-8, not empty and below 1 MiB."""
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        if _LEFT_OUT.intersection(parts) or path.name.startswith(_BUILT) or path.is_symlink():
            continue
        if text := _readable(path):
            title = ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)
            yield {"text": text, "title": title, "package": parts[0]}


def _readable(path: Path) -> str | None:
    try:
        if path.stat().st_size > _MOST_BYTES:
            return None
        return path.read_text(encoding="utf-8").strip("\n")
    except (OSError, UnicodeDecodeError):
        return None
