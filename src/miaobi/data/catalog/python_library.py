"""The source code of Python's standard library, as it is on this machine; no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Record
from miaobi.data.catalog._python_files import Library, library, modules
from miaobi.recipe import Plugin


class PythonLibrary(Library):
    """A file an item, titled by its module's dotted name; tests, IDLE and installed packages are left out.

    Files of one top-level package stay together in a split, because they are written alike.
    """

    summary = "about 600 files of Python's standard library with their modules' names; needs no network"
    content = "text"
    conditions: ClassVar[Mapping[str, Plugin]] = {"title": "text"}
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "package"}

    def records(self, cache: Path) -> Iterator[Record]:
        return modules(library())
