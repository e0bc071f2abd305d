"""What a catalog data set is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from miaobi import plugins
from miaobi.recipe import Plugin

Record = dict[str, Any]


class Catalog(ABC):
    """Base of catalog data sets: a pinned package that is fetched once and read as records.

    A record maps column names to what the column's modality reads: text, bytes, an array, or a path.
    """

    summary: ClassVar[str]
    """One line: what it holds and how much."""
    licence: ClassVar[str]
    """SPDX identifier or a short name, and whose; it is printed and carried into models."""
    version: ClassVar[str]
    """The pinned package with its version; part of the cache key, so a new pin is prepared anew."""
    modality: ClassVar[Plugin]
    """Of the target, as a recipe's ``modality`` section."""
    content: ClassVar[str]
    """Column of the target."""
    conditions: ClassVar[Mapping[str, Plugin]] = {}
    """The other columns, each with the modality that it has as a condition."""
    split: ClassVar[Mapping[str, Any]] = {}
    """The ``data.split`` section that a recipe without one gets; ``by: given`` needs a column ``split``."""

    @property
    def name(self) -> str:
        """As written after ``catalog:``."""
        return plugins.name_of(type(self)).replace("_", "-")

    @abstractmethod
    def records(self, cache: Path) -> Iterator[Record]:
        """Records in a fixed order, fetched into the folder ``cache`` when they are not there yet.

        Raises:
            FetchFailed: the package could not be fetched, or has another checksum.
            MissingExtra: an optional dependency is absent.
        """

    def pinned(self, cache: Path) -> str:
        """What keys data prepared from it: `version`, unless only what was fetched tells which version it is.

        Raises:
            FetchFailed: as `records`.
        """
        return self.version

    def to_json(self) -> dict[str, Any]:
        """A summary without fetching anything."""
        return {
            "name": self.name,
            "source": f"catalog:{self.name}",
            "summary": self.summary,
            "licence": self.licence,
            "version": self.version,
            "modality": self.modality,
            "content": self.content,
            "conditions": dict(self.conditions),
            "split": dict(self.split),
        }
