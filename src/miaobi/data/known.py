"""What of new data a model knows already: duplicates, exact and near, of what it was trained on or held out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from miaobi.data.dataset import Dataset
from miaobi.data.duplicates import NEAR, candidates
from miaobi.data.prepare import Prepared
from miaobi.data.reading import PARTS
from miaobi.modalities import Modality, Viewed

_CHUNK = 256
_CACHED = 1 << 12
_STRETCH = 40
"""Characters that two texts hardly share by chance."""


@dataclass(frozen=True, slots=True)
class Known:
    """Ids of new items.

    Attributes:
        held: those that equal, or nearly equal, an old item that was held out: they must not be trained on.
        trained: those that equal, or nearly equal, an old training item: they must not be held out.
        equal: those of ``trained`` that are the very same item: training on them again is replay.
    """

    held: frozenset[int]
    trained: frozenset[int]
    equal: frozenset[int]

    def rows(self, data: Dataset) -> np.ndarray:
        """Rows of a new part that may stay in it, in order."""
        gone = self.held | (self.equal if data.part == "train" else self.trained)
        return np.flatnonzero(~np.isin(data.ids.numpy(), np.fromiter(gone, dtype=np.int64)))


def find_known(new: Prepared, old: Sequence[Prepared], *, near: bool) -> Known:
    """Compare new data with all that came before.

    Args:
        new: just prepared, by the old data's own modalities.
        old: every data set before it.
        near: whether near duplicates count; a window of one long text is known where it has a stretch of `_STRETCH`
            characters of it. An item that shares a condition that identifies it with a held-out one is held out too.
    """
    ours = np.concatenate([getattr(new, part).ids.numpy() for part in PARTS])
    held_ids = np.concatenate([getattr(one, part).ids.numpy() for one in old for part in PARTS[1:]])
    train_ids = np.concatenate([one.train.ids.numpy() for one in old])
    held, equal = (frozenset(ours[np.isin(ours, ids)].tolist()) for ids in (held_ids, train_ids))
    if new.target.stream:
        return Known(held | _overlapping(new, old, PARTS[1:]), equal | _overlapping(new, old, PARTS[:1]), equal)
    held |= _sharing(new, old)
    if not near:
        return Known(held, equal, equal)
    near_held, near_trained = _near(new, old)
    return Known(held | near_held, equal | near_trained, equal)


def _near(new: Prepared, old: Sequence[Prepared]) -> tuple[frozenset[int], frozenset[int]]:
    """Ids of new items that are nearly equal to held-out, and to training, items."""
    column, modality = _subject(new)
    # What was held out comes first, so that it is what a long run of alike items is compared with.
    olds = [getattr(one, part) for part in PARTS[1:] for one in old] + [one.train for one in old]
    side = _Side([*olds, *(getattr(new, part) for part in PARTS)], column, modality)
    total, held = sum(map(len, olds)), sum(len(data) for data in olds if data.part != "train")
    found: tuple[set[int], set[int]] = set(), set()
    for earlier, later in side.pairs():
        if earlier < total <= later and modality.similarity(side.item(earlier), side.item(later)) >= NEAR:
            found[earlier >= held].add(side.id(later))
    return frozenset(found[0]), frozenset(found[1])


def _sharing(new: Prepared, old: Sequence[Prepared]) -> frozenset[int]:
    """Ids of new items with a condition that a held-out item has: a pair's either side keeps it where it was."""
    found: set[int] = set()
    for name, modality in new.conditions.items():
        if isinstance(modality, Viewed) or not modality.identifies:
            continue
        held = {modality.pack(item) for one in old for part in PARTS[1:] for _, item in _told(getattr(one, part), name)}
        for part in PARTS:
            found |= {number for number, item in _told(getattr(new, part), name) if modality.pack(item) in held}
    return frozenset(found)


def _told(data: Dataset, name: str) -> Iterator[tuple[int, Any]]:
    """The id and the condition of every item that has it."""
    ids = data.ids.tolist()
    for start in range(0, len(data), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(data)))
        for row, item in zip(rows, data.condition_items(name, rows), strict=True):
            if item is not None:
                yield ids[row], item


def _overlapping(new: Prepared, old: Sequence[Prepared], parts: Sequence[str]) -> frozenset[int]:
    """Ids of new windows that have a whole stretch of an old part's text in them, wherever it stood."""
    known = {stretch for one in old for part in parts for stretch in _stretches(_texts(getattr(one, part)), 1)}
    return frozenset(
        number
        for part in PARTS
        for number, text in _numbered(getattr(new, part))
        if any(stretch in known for stretch in _stretches([text], _STRETCH))
    )


def _stretches(texts: Iterable[str], step: int) -> Iterator[int]:
    """Hashes of stretches of each text, begun every ``step`` characters."""
    for text in texts:
        for start in range(0, len(text) - _STRETCH + 1, step):
            yield hash(text[start : start + _STRETCH])


def _texts(data: Dataset) -> Iterator[str]:
    return (text for _, text in _numbered(data))


def _numbered(data: Dataset) -> Iterator[tuple[int, str]]:
    ids = data.ids.tolist()
    for start in range(0, len(data), _CHUNK):
        rows = range(start, min(start + _CHUNK, len(data)))
        yield from zip((ids[row] for row in rows), map(str, data.items(rows)), strict=True)


def _subject(data: Prepared) -> tuple[str | None, Modality]:
    """What items are known by: the target (``None``), or the first condition where the target identifies nothing."""
    if data.modality.identifies:
        return None, data.modality
    names = (name for name, other in data.conditions.items() if other.identifies)
    name = next(names, None)
    return name, data.modality if name is None else data.conditions[name]


class _Side:
    """One column of several data sets as one list of items."""

    def __init__(self, parts: Sequence[Dataset], column: str | None, modality: Modality) -> None:
        self._parts, self._column, self._modality = parts, column, modality
        self._ends = np.cumsum([len(part) for part in parts])
        self.item: Callable[[int], Any] = lru_cache(maxsize=_CACHED)(self._read)

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Candidates for near duplicates, earlier and later."""
        signed, bands = [], []
        for place, item in enumerate(self._every()):
            signature = None if item is None else self._modality.signature(item)
            if signature is not None:
                signed.append(place)
                bands.append(np.asarray(signature, dtype=np.uint64))
        if signed:
            pairs: list[list[int]] = np.array(signed)[candidates(np.stack(bands))].tolist()
            yield from ((earlier, later) for earlier, later in pairs)

    def id(self, place: int) -> int:
        """The id of an item."""
        part, row = self._where(place)
        return int(part.ids[row])

    def _every(self) -> Iterator[Any]:
        for part in self._parts:
            for start in range(0, len(part), _CHUNK):
                yield from self._of(part, range(start, min(start + _CHUNK, len(part))))

    def _read(self, place: int) -> Any:
        part, row = self._where(place)
        return self._of(part, [row])[0]

    def _of(self, part: Dataset, rows: Sequence[int]) -> list[Any]:
        return part.items(rows) if self._column is None else part.condition_items(self._column, rows)

    def _where(self, place: int) -> tuple[Dataset, int]:
        which = int(np.searchsorted(self._ends, place, side="right"))
        return self._parts[which], place - int(self._ends[which] - len(self._parts[which]))
