"""Preparing one long text: split by position first, then fit on training, then tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from miaobi.data.content import content_id
from miaobi.data.plan import Plan
from miaobi.data.reading import PARTS, Removed
from miaobi.data.shelf import Shelf, ShelfWriter
from miaobi.data.sources import Problem
from miaobi.data.split import position_ends
from miaobi.data.survey import Log
from miaobi.data.windows import write_tokens
from miaobi.errors import DataError, UnreadableItem


@dataclass
class StagedText:
    """A normalised text on disk, in chunks.

    Attributes:
        shelf: columns ``text`` and ``length`` (characters).
        characters, bytes: of the whole text.
        ends: where training and validation end, in characters.
        unreadable: lines that were left out.
    """

    shelf: Shelf
    characters: int
    bytes: int
    ends: tuple[int, int]
    unreadable: Removed

    def part(self, part: str) -> Iterator[str]:
        """The text of a part, a chunk at a time."""
        limits = (0, *self.ends, self.characters)
        first, last = limits[PARTS.index(part)], limits[PARTS.index(part) + 1]
        at = 0
        for row, length in enumerate(self.shelf.numbers("length").tolist()):
            if at < last and at + length > first:
                text = self.shelf.values("text", [row])[0]
                yield text[max(0, first - at) : last - at]
            at += length

    def size(self, part: str) -> int:
        """Characters of a part."""
        limits = (0, *self.ends, self.characters)
        return limits[PARTS.index(part) + 1] - limits[PARTS.index(part)]

    def seed(self, part: str) -> int:
        """A number from the content of a part, that its windows' ids come from."""
        hasher = hashlib.blake2b(part.encode(), digest_size=16)
        for chunk in self.part(part):
            hasher.update(chunk.encode("utf-8", "surrogatepass"))
        return content_id(hasher.digest())


class PartText:
    """The text of a part as an iterable that can be iterated again."""

    def __init__(self, staged: StagedText, part: str) -> None:
        self._staged, self._part = staged, part

    def __iter__(self) -> Iterator[str]:
        return self._staged.part(self._part)


@dataclass
class _Tally:
    characters: int = 0
    bytes: int = 0
    lines: int = 0
    unreadable: Removed = field(default_factory=Removed)


def stage_text(plan: Plan, folder: Path, log: Log) -> StagedText:
    """Read and normalise the text into a file in ``folder``; ``clean.limit`` is a number of characters here.

    Raises:
        DataError: nothing readable, more broken lines than ``clean.max_unreadable``, or too short to split.
    """
    log(f"reading {plan.source.name}")
    tally = _Tally()
    path = folder / "staged.arrow"
    with ShelfWriter(path, pa.schema([("text", pa.string()), ("length", pa.int64())])) as writer:
        for text in _chunks(plan, tally):
            writer.append([text, len(text)])
    _check(plan, tally)
    ends = position_ends(tally.characters, plan.split)
    staged = StagedText(Shelf(path), tally.characters, tally.bytes, ends, tally.unreadable)
    log(f"{tally.characters} characters: {', '.join(f'{staged.size(part)} {part}' for part in PARTS)}")
    return staged


def write_parts(plan: Plan, staged: StagedText, folder: Path) -> dict[str, int]:
    """Write the tokens of every part; returns how many each has.

    Raises:
        DataError: the training part is too short for one window.
        SaveFailed: the disk is full or not writable.
    """
    vocabulary = plan.modality.spec.vocabulary
    counts = {}
    for part in PARTS:
        arrays = (plan.modality.encode(text) for text in PartText(staged, part))
        counts[part] = write_tokens(folder / f"{part}.arrow", arrays, vocabulary)
    if counts["train"] < 2:
        raise DataError("the text is too short to train on", given=f"{counts['train']} tokens", cure="add text")
    return counts


def _chunks(plan: Plan, tally: _Tally) -> Iterator[str]:
    limit = plan.settings.clean.limit
    for record in plan.source.records():
        if isinstance(record, Problem):
            tally.unreadable.add(record.where, record.reason)
            continue
        raw = record.values["content"]
        tally.lines += raw.count("\n") + 1
        try:
            text = plan.modality.read(raw)
        except UnreadableItem as error:
            tally.unreadable.add(record.where, error.message)
            continue
        if limit:
            text = text[: limit - tally.characters]
        tally.characters += len(text)
        tally.bytes += len(text.encode("utf-8"))
        yield text
        if limit and tally.characters >= limit:
            return


def _check(plan: Plan, tally: _Tally) -> None:
    bad, share = tally.unreadable, plan.settings.clean.max_unreadable
    if bad.count > share * (tally.lines + bad.count):
        raise DataError(
            f"{bad.count} lines of {plan.source.name} cannot be read",
            given="; ".join(f"{one['where']}: {one['reason']}" for one in bad.examples[:5]),
            allowed=f"a share of {share}",
            cure="save the file as UTF-8, or raise data.clean.max_unreadable",
        )
    train, validation = position_ends(tally.characters, plan.split)
    empty = [
        part
        for part, share, size in (
            ("training", 1.0, train),
            ("validation", plan.split.validation, validation - train),
            ("test", plan.split.test, tally.characters - validation),
        )
        if share and size < 2
    ]
    if empty:
        cure = "add text, or hold out less (data.split)"
        raise DataError(
            f"the text is too short for {' and '.join(empty)}", given=f"{tally.characters} characters", cure=cure
        )
