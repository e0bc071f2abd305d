"""The first pass: records become items, staged on disk; only hashes and small signatures stay in memory.

An item costs about 40 bytes of memory, 8 more a condition, and a modality's near-duplicate bands (8 each).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from miaobi.data.content import content_id
from miaobi.data.plan import Plan
from miaobi.data.shelf import Shelf, ShelfWriter
from miaobi.data.sources import PART_NAMES, Ignored, Problem, Record
from miaobi.errors import DataError, MiaobiError, UnreadableItem
from miaobi.modalities import Modality
from miaobi.types import Form

PARTS = ("train", "validation", "test")
NAMED = 100
"""How many removed items a report names."""


@dataclass
class Removed:
    """Items left out for one reason: how many, and the first of them."""

    count: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, where: str, reason: str) -> None:
        """Count one; the first hundred are named."""
        self.count += 1
        if len(self.examples) < NAMED:
            self.examples.append({"where": where, "reason": reason})

    def to_json(self) -> dict[str, Any]:
        """Count and examples."""
        return {"count": self.count, "examples": self.examples}


class LabelCodes:
    """Labels as small numbers, in order of appearance; -1 where an item has none."""

    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self._codes = array("q")

    def append(self, packed: bytes | None) -> None:
        """Note an item's label."""
        self._codes.append(-1 if packed is None else self.names.setdefault(packed, len(self.names)))

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """How many of ``rows`` have each label, ``[len(names)]``."""
        codes = np.frombuffer(self._codes, dtype=np.int64)[rows]
        return np.bincount(codes[codes >= 0], minlength=len(self.names))


@dataclass
class Staged:
    """What was read: items packed in an Arrow file, and columns of numbers about them.

    Attributes:
        shelf: columns ``where``, ``target``, ``condition.NAME`` and ``extra.NAME`` (packed items).
        subject: the column that items are known by; ``lengths``, ``bands`` and ``bytes`` are of it.
        ids: ``[N]`` int64 content ids of target, conditions and extras together.
        sides: ``[N]`` int64 content ids of the subject, and of each column that identifies, 0 where absent.
        groups: ``[N]`` int64 ids of the group column's values, 0 where there is none.
        given: ``[N]`` int8 part by the split column: 0 train, 1 validation, 2 test.
        lengths: ``[N]`` int64 in the modality's units.
        bands: ``[S, K]`` uint64 near-duplicate bands of the rows ``signed [S]``; other rows have none.
        labels: the classes of what is a label: ``target``, ``condition.NAME``.
        bytes: of all packed subjects.
    """

    shelf: Shelf
    subject: str
    ids: np.ndarray
    sides: dict[str, np.ndarray]
    groups: np.ndarray
    given: np.ndarray
    lengths: np.ndarray
    bands: np.ndarray
    signed: np.ndarray
    labels: dict[str, LabelCodes]
    unreadable: Removed
    too_short: Removed
    too_long: Removed
    ignored: Ignored
    bytes: int

    def __len__(self) -> int:
        return len(self.ids)


class Reader:
    """Reads a source into a `Staged`.

    Args:
        plan: the source, its columns and their modalities, and what is cleaned away.
    """

    def __init__(self, plan: Plan) -> None:
        self._source = plan.source
        self._roles = plan.roles
        self._modality = plan.modality
        self._conditions, self._extras, self._columns = plan.conditions, plan.extras, tuple(plan.columns)
        self._cleaning = plan.settings.clean
        self._compares = plan.compares
        self._unreadable, self._too_short, self._too_long = Removed(), Removed(), Removed()
        self._ids, self._groups, self._given, self._lengths = array("q"), array("q"), array("b"), array("q")
        self._subject = plan.subject
        self._known_by = plan.columns[plan.subject]
        self._labels = {name: LabelCodes() for name, other in plan.columns.items() if other.form is Form.LABEL}
        self._sides = {
            name: array("q") for name, other in plan.columns.items() if other.identifies or name == plan.subject
        }
        self._bands, self._signed = array("Q"), array("q")
        self._bytes = 0

    def read(self, path: Path) -> Staged:
        """Read everything, at most ``clean.limit`` items, into the Arrow file ``path``.

        Raises:
            DataError: no readable item, or more unreadable ones than ``clean.max_unreadable``.
        """
        names = ["where", *self._columns]
        schema = pa.schema([(name, pa.string() if name == "where" else pa.binary()) for name in names])
        with ShelfWriter(path, schema) as writer:
            for record in self._source.records(self._roles.columns):
                self._take(record, writer)
                if self._cleaning.limit and writer.count >= self._cleaning.limit:
                    break
        self._check()
        return self._staged(Shelf(path))

    def _take(self, record: Record | Problem, writer: ShelfWriter) -> None:
        if isinstance(record, Problem):
            self._unreadable.add(record.where, record.reason)
            return
        try:
            item = self._read_target(record)
            packed = self._modality.pack(item)
            others = {f"condition.{name}": self._read_condition(name, record) for name in self._conditions}
            others |= {f"extra.{name}": self._read_extra(name, record, packed) for name in self._extras}
            given = self._part(record)
        except UnreadableItem as error:
            self._unreadable.add(record.where, error.message)
            return
        columns = {"target": packed} | others
        subject = item
        if self._subject != "target":
            told = columns[self._subject]
            if told is None:
                self._unreadable.add(record.where, f"nothing in {self._subject.removeprefix('condition.')}")
                return
            subject = self._known_by.unpack(told)
        length = self._known_by.length(subject)
        if not self._fits(length, record.where):
            return
        writer.append([record.where, *columns.values()])
        self._note(columns, length, given, record)
        if self._compares:
            self._sign(subject)

    def _read_target(self, record: Record) -> Any:
        if not self._roles.row:
            return self._read(self._modality, self._roles.target, record)
        return self._decoded(self._modality, {name: record.values.get(name) for name in self._roles.row})

    def _read(self, modality: Modality, column: str, record: Record) -> Any:
        value = record.values.get(column)
        if value is None:
            raise UnreadableItem(f"nothing in the column {column}")
        return self._decoded(modality, value)

    def _decoded(self, modality: Modality, value: Any) -> Any:
        try:
            return modality.read(value)
        except MiaobiError:
            raise
        except Exception as error:
            # A decoder may fail in any way on a damaged file; one bad file must not stop the rest.
            raise UnreadableItem(f"{type(error).__name__}: {error}") from error

    def _read_condition(self, name: str, record: Record) -> bytes | None:
        """The packed condition, or ``None`` where the record has none."""
        column = self._roles.conditions[name]
        value = record.values.get(column)
        # An array is compared number by number, and has no single answer.
        if value is None or (isinstance(value, str) and not value):
            return None
        modality = self._conditions[name]
        return modality.pack(self._read(modality, column, record))

    def _read_extra(self, name: str, record: Record, target: bytes) -> bytes:
        """The packed extra, which every item has; it is not the target again."""
        modality, column = self._extras[name], self._roles.extras[name]
        packed = modality.pack(self._read(modality, column, record))
        if modality is self._modality and packed == target:
            raise UnreadableItem(f"the columns {self._roles.target} and {column} are equal, so neither is preferred")
        return packed

    def _part(self, record: Record) -> int:
        if self._roles.split is None:
            return 0
        value = str(record.values.get(self._roles.split) or "").strip().lower()
        if value not in PART_NAMES:
            raise UnreadableItem(f"the column {self._roles.split} says {value!r}, not train, validation or test")
        return PARTS.index(PART_NAMES[value])

    def _fits(self, length: int, where: str) -> bool:
        low, high = self._cleaning.min_length, self._cleaning.max_length
        if low is not None and length < low:
            self._too_short.add(where, f"length {length} is below {low}")
            return False
        if high is not None and length > high:
            self._too_long.add(where, f"length {length} is above {high}")
            return False
        return True

    def _note(self, columns: Mapping[str, bytes | None], length: int, given: int, record: Record) -> None:
        self._ids.append(content_id(*columns.values()))
        for name, side in self._sides.items():
            side.append(0 if (data := columns[name]) is None else content_id(data))
        for name, codes in self._labels.items():
            codes.append(columns[name])
        group = None if self._roles.group is None else record.values.get(self._roles.group)
        self._groups.append(0 if group is None else content_id(str(group).encode("utf-8", "surrogatepass")))
        self._given.append(given)
        self._lengths.append(length)
        self._bytes += len(columns[self._subject] or b"")

    def _sign(self, item: Any) -> None:
        signature = self._known_by.signature(item)
        if signature is not None:
            self._bands.frombytes(np.ascontiguousarray(signature, dtype=np.uint64).tobytes())
            self._signed.append(len(self._ids) - 1)

    def _check(self) -> None:
        read = len(self._ids) + self._too_short.count + self._too_long.count
        bad = self._unreadable
        if bad.count > self._cleaning.max_unreadable * (read + bad.count):
            raise DataError(
                f"{bad.count} of {read + bad.count} items cannot be read",
                given="; ".join(f"{bad_one['where']}: {bad_one['reason']}" for bad_one in bad.examples[:5]),
                allowed=f"a share of {self._cleaning.max_unreadable}",
                cure="mend or remove them, or raise data.clean.max_unreadable",
            )
        if not len(self._ids):
            lost = f"{self._too_short.count} too short, {self._too_long.count} too long"
            raise DataError(
                f"{self._source.name} has no usable item", given=lost, cure="check data.source and data.clean"
            )

    def _staged(self, shelf: Shelf) -> Staged:
        signed = _array(self._signed, np.int64)
        return Staged(
            shelf=shelf,
            subject=self._subject,
            ids=_array(self._ids, np.int64),
            sides={name: _array(values, np.int64) for name, values in self._sides.items()},
            groups=_array(self._groups, np.int64),
            given=_array(self._given, np.int8),
            lengths=_array(self._lengths, np.int64),
            bands=_array(self._bands, np.uint64).reshape(len(signed), -1 if len(signed) else 0),
            signed=signed,
            labels=self._labels,
            unreadable=self._unreadable,
            too_short=self._too_short,
            too_long=self._too_long,
            ignored=self._source.ignored,
            bytes=self._bytes,
        )


def _array(values: array[int], dtype: Any) -> np.ndarray:
    return np.frombuffer(values, dtype=dtype)


def unpacked(staged: Staged, modality: Modality, column: str, row: int) -> Any:
    """The item in a staged column, or ``None`` where absent."""
    data = staged.shelf.values(column, [row])[0]
    return None if data is None else modality.unpack(data)
