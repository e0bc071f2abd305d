"""The second pass: fit on training items, then write every part's arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from miaobi.data.content import combined_id
from miaobi.data.dataset import Layout, schema
from miaobi.data.plan import Plan
from miaobi.data.reading import PARTS, Removed, Staged
from miaobi.data.shelf import ShelfWriter
from miaobi.data.survey import Survey
from miaobi.errors import DataError
from miaobi.modalities import Item, Modality, Represented
from miaobi.types import Spec

_CHUNK = 64
"""Items that a representation encodes at once."""


class StagedItems:
    """Items of a staged column where ``mask [N]`` is true and there is one; can be iterated any number of times."""

    def __init__(self, staged: Staged, modality: Modality, column: str, mask: np.ndarray) -> None:
        self._staged, self._modality, self._column, self._mask = staged, modality, column, mask

    def __iter__(self) -> Iterator[Item]:
        for wanted, (data,) in zip(self._mask.tolist(), self._staged.shelf.scan([self._column]), strict=True):
            if wanted and data is not None:
                yield self._modality.unpack(data)


class _Joined:
    """Several iterables as one that can be iterated again."""

    def __init__(self, *parts: StagedItems) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[Item]:
        for part in self._parts:
            yield from part


def fit(plan: Plan, survey: Survey) -> None:
    """Fit the modalities on training items; a shared tokenizer sees all that it will cut, the rejected too."""
    train = survey.parts() == PARTS.index("train")
    columns = [StagedItems(survey.staged, plan.modality, column, train) for column in plan.fitted_on]
    plan.modality.fit(_Joined(*columns))
    for name, condition in plan.conditions.items():
        if condition is not plan.modality:
            condition.fit(StagedItems(survey.staged, condition, f"condition.{name}", train))


class Encoder:
    """Writes ``PART.arrow`` for every part.

    Args:
        plan: with fitted modalities.
        survey: what was read.
        folder: where to.

    Attributes:
        left_out: held-out items that the fitted modalities cannot encode, e.g. of a class that training lacks.
    """

    def __init__(self, plan: Plan, survey: Survey, folder: Path) -> None:
        self._plan = plan
        self._survey = survey
        self._folder = folder
        self._modalities = plan.columns
        self._layouts = {name: self._layout(name, modality) for name, modality in self._modalities.items()}
        self._longest = dict.fromkeys(self._modalities, 1)
        self._ids: dict[str, list[int]] = {part: [] for part in PARTS}
        self.left_out = Removed()

    def write(self) -> None:
        """Encode every item that stays.

        Raises:
            DataError: no training item can be encoded.
            SaveFailed: the disk is full or not writable.
        """
        staged = self._survey.staged
        columns = ["where", *self._modalities]
        with ExitStack() as stack:
            table = schema(self._layouts)
            writers = [stack.enter_context(ShelfWriter(self._folder / f"{part}.arrow", table)) for part in PARTS]
            rows = zip(self._survey.parts().tolist(), staged.ids.tolist(), staged.shelf.scan(columns), strict=True)
            kept = (row for row in rows if row[0] >= 0)
            while chunk := list(islice(kept, _CHUNK)):
                arrays = self._together([packed for _, _, (_, packed, *_) in chunk])
                for array, (part, item, (where, *packed)) in zip(arrays, chunk, strict=True):
                    self._append(writers[part], PARTS[part], item, where, packed, array)
        if not self._ids["train"]:
            first = self.left_out.examples[0]["reason"] if self.left_out.examples else None
            raise DataError("no training item can be encoded", given=first, cure="check the modality's options")

    def fingerprint(self) -> str:
        """Of the ids of every part."""
        return combined_id([np.array(self._ids[part], dtype=np.int64) for part in PARTS])

    def sizes(self) -> dict[str, int]:
        """Items written of every part."""
        return {part: len(ids) for part, ids in self._ids.items()}

    def specs(self) -> tuple[Spec, dict[str, Spec]]:
        """What the target and each condition look like; those that share a tokenizer have a longest length each."""
        target = self._plan.modality.spec
        shared = self._plan.shared
        specs = {}
        for name, condition in self._plan.conditions.items():
            own = replace(target, shared=True, max_length=self._longest[f"condition.{name}"])
            specs[name] = own if name in shared else condition.spec
        return target, specs

    def _together(self, packed: list[bytes]) -> Sequence[np.ndarray | None]:
        """Arrays of several targets, where making them at once is faster; ``None`` for those to make one by one."""
        modality = self._plan.modality
        if not isinstance(modality, Represented):
            return [None] * len(packed)
        try:
            return modality.encode_many([modality.unpack(data) for data in packed])
        except DataError:
            return [None] * len(packed)

    def _append(
        self,
        writer: ShelfWriter,
        part: str,
        item: int,
        where: str,
        packed: list[bytes | None],
        array: np.ndarray | None,
    ) -> None:
        row: list[Any] = [item]
        ready = {"target": array}
        try:
            for (name, modality), data in zip(self._modalities.items(), packed, strict=True):
                row += [None if data is None else self._encoded(name, modality, data, ready.get(name)), data]
        except DataError as error:
            self.left_out.add(where, error.message)
            return
        writer.append(row)
        self._ids[part].append(item)

    def _encoded(self, name: str, modality: Modality, data: bytes, array: np.ndarray | None) -> bytes:
        array = modality.encode(modality.unpack(data)) if array is None else array
        if array.ndim:
            self._longest[name] = max(self._longest[name], array.shape[0])
        return self._layouts[name].store(array)

    def _layout(self, column: str, modality: Modality) -> Layout:
        everything = np.ones(len(self._survey.staged), dtype=bool)
        for item in StagedItems(self._survey.staged, modality, column, everything):
            try:
                return Layout.of(modality.spec, modality.encode(item), modality.marks)
            except DataError:
                continue
        raise DataError(f"nothing in {column} can be encoded", cure="check the column and the modality's options")


def describe_sample(plan: Plan, survey: Survey, count: int = 1000) -> Mapping[str, Any]:
    """`Modality.describe` of each stored column, on at most ``count`` kept items spread evenly."""
    kept = survey.duplicates.kept
    chosen = kept[np.unique(np.linspace(0, len(kept) - 1, min(count, len(kept))).astype(np.int64))]
    mask = np.zeros(len(survey.staged), dtype=bool)
    mask[chosen] = True
    return {
        name: modality.describe(list(StagedItems(survey.staged, modality, name, mask)))
        for name, modality in plan.columns.items()
    }
