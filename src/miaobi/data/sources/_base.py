"""What a source of items is: columns, and records with a name for messages."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from miaobi.errors import DataError, nearest


@dataclass(frozen=True, slots=True)
class Record:
    """One item as found: ``where`` names it in messages, ``values`` maps columns to what a modality reads."""

    where: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """One file, line or row that cannot be used, and why."""

    where: str
    reason: str


@dataclass
class Ignored:
    """Files beside the wanted ones that are not of the modality: counted, the first few named."""

    count: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, where: str) -> None:
        """Count a file."""
        self.count += 1
        self.suffixes[Path(where).suffix.lower() or "(none)"] += 1
        if len(self.examples) < 20:
            self.examples.append(where)


class Source(ABC):
    """Base of sources. Records are read in a fixed order, any number of times, a few at a time."""

    stream: ClassVar[bool] = False
    """The source is one long text; see `TextStream`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.licence: str | None = None
        self.ignored = Ignored()

    @property
    @abstractmethod
    def columns(self) -> Sequence[str]:
        """Names that records' values have, in the source's order."""

    @property
    def content(self) -> str | None:
        """The target's column where the source knows it."""
        return None

    @property
    def split(self) -> Mapping[str, Any] | None:
        """The ``data.split`` section that suits the source, for recipes that leave it out."""
        return None

    @abstractmethod
    def records(self, columns: Sequence[str] | None = None) -> Iterator[Record | Problem]:
        """Every record, or what is wrong with it.

        Args:
            columns: only these are needed; ``None``: all.

        Raises:
            DataError: the source as a whole cannot be read.
        """

    @abstractmethod
    def fingerprint(self, columns: Sequence[str]) -> str:
        """Changes when the content may have changed: paths, sizes and times of files, or a pinned version.

        Args:
            columns: those in use; files that they name count too.
        """

    def check_columns(self, wanted: Iterable[str]) -> None:
        """Refuse columns that the source does not have.

        Raises:
            DataError: with the nearest matches.
        """
        for column in wanted:
            if column not in self.columns:
                near = nearest(column, self.columns)
                raise DataError(
                    f"{self.name} has no column {column!r}",
                    allowed=list(self.columns),
                    cure=f"did you mean {' or '.join(near)}?" if near else "name one of its columns",
                )


def digest(parts: Iterable[object]) -> str:
    """A fingerprint of ``parts`` in order."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        hasher.update(repr(part).encode("utf-8", "surrogatepass"))
        hasher.update(b"\0")
    return hasher.hexdigest()


def file_state(path: Path) -> tuple[str, int, int]:
    """Path, size and time of a file, for fingerprints."""
    state = path.stat()
    return str(path), state.st_size, state.st_mtime_ns
