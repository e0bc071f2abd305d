"""Named data sets of this package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from miaobi.data import catalog
from miaobi.data.sources._base import Problem, Record, Source, digest


class CatalogSource(Source):
    """Records of a catalog data set, fetched when they are first read.

    Args:
        name: after ``catalog:``.
        cache: where it is fetched to.

    Raises:
        UnknownName: no such data set.
    """

    def __init__(self, name: str, cache: Path) -> None:
        super().__init__(f"catalog:{name}")
        self.catalog = catalog.find(name)
        self.licence = self.catalog.licence
        self._cache = cache

    @property
    def content(self) -> str:
        return self.catalog.content

    @property
    def split(self) -> Mapping[str, Any] | None:
        return self.catalog.split or None

    @property
    def columns(self) -> Sequence[str]:
        known = self.catalog
        grouped = [known.split["group"]] if known.split.get("group") else []
        given = ["split"] if known.split.get("by") == "given" else []
        return list(dict.fromkeys([known.content, *known.conditions, *grouped, *given]))

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        for number, values in enumerate(self.catalog.records(self._cache), 1):
            yield Record(f"{self.name} record {number}", values)

    def fingerprint(self, columns: Sequence[str]) -> str:
        return digest([self.catalog.name, self.catalog.pinned(self._cache)])
