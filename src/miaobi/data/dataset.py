"""One part of the split over a memory-mapped Arrow file; nothing larger than a batch is in memory."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from miaobi.data.shelf import Shelf
from miaobi.errors import Unsupported
from miaobi.modalities import Item, Modality, Viewed
from miaobi.sampling.noise import derive
from miaobi.types import Batch, Field, Form, Spec

Augment = Callable[[np.ndarray, int], np.ndarray]
"""A random variation of a target array, given the item's id."""


class Dataset(ABC):
    """A part of the split.

    Attributes:
        part: train, validation or test.
        modality: the target's, fitted.
        ids: ``[N]`` int64 item ids, 1 to 2**63 - 1, from content.
    """

    part: str
    modality: Modality
    ids: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def batch(self, rows: Sequence[int], *, augment: Augment | None = None, shift: int = 0, epoch: int = 0) -> Batch:
        """Items collated by their modalities, with ids.

        Args:
            rows: which, 0 to N - 1.
            augment: applied to each target array.
            shift: of a stream's training windows, in tokens; items have no use for it.
            epoch: views with randomness of their own are taken afresh in each.
        """

    def sizes(self) -> np.ndarray | None:
        """``[N]``: how long each item is, all its sequences together; ``None`` where all are alike."""
        return None

    @abstractmethod
    def items(self, rows: Sequence[int]) -> list[Item]:
        """Canonical items of the target."""

    @abstractmethod
    def condition_items(self, name: str, rows: Sequence[int]) -> list[Item | None]:
        """Canonical items of a condition; ``None`` where an item has none."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How arrays of a column are stored: ``shape`` is ``None`` for token sequences of any length."""

    dtype: str
    shape: tuple[int, ...] | None
    restored: str

    @classmethod
    def of(cls, spec: Spec, example: np.ndarray, marks: int = 1) -> Layout:
        """The layout of arrays like ``example``, the smallest that holds the values of ``spec``, ``marks`` a token."""
        if spec.form is Form.TOKENS:
            return cls("uint16" if spec.vocabulary * marks <= 1 << 16 else "uint32", None, "int64")
        dtype = "int32" if spec.form is Form.LABEL else str(example.dtype)
        return cls(dtype, example.shape, str(example.dtype))

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow column type."""
        return pa.binary() if self.shape is None else pa.binary(self._width)

    def store(self, array: np.ndarray) -> bytes:
        """An array as bytes."""
        if self.shape is not None and array.shape != self.shape:
            raise Unsupported("arrays of different shapes", given=array.shape, allowed=str(self.shape))
        return np.ascontiguousarray(array, dtype=self.dtype).tobytes()

    def read(self, shelf: Shelf, column: str, rows: Sequence[int]) -> list[np.ndarray]:
        """Writable arrays of rows that have one."""
        if not rows:
            return []
        if self.shape is None:
            return [data.view(self.dtype).astype(self.restored) for data in shelf.binary(column, rows)]
        found = shelf.fixed(column, rows).view(self.dtype).astype(self.restored)
        return list(found.reshape(len(rows), *self.shape))

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads."""
        return {"dtype": self.dtype, "shape": self.shape, "restored": self.restored}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layout:
        """The inverse of `to_json`."""
        return cls(data["dtype"], None if data["shape"] is None else tuple(data["shape"]), data["restored"])

    @property
    def _width(self) -> int:
        return int(np.prod(self.shape or (), dtype=np.int64)) * np.dtype(self.dtype).itemsize


def schema(layouts: Mapping[str, Layout]) -> pa.Schema:
    """Columns of a part's file: ``id``, then each layout's arrays and, under ``NAME.item``, packed items."""
    columns = [("id", pa.int64())]
    for name, layout in layouts.items():
        columns += [(name, layout.arrow), (f"{name}.item", pa.binary())]
    described = json.dumps({name: layout.to_json() for name, layout in layouts.items()})
    return pa.schema(columns, metadata={"layouts": described})


class ItemDataset(Dataset):
    """Items in a file of `schema`.

    Args:
        path: the file.
        part: its name.
        modality: the target's.
        conditions: the conditions'.
        specs: the conditions' specs.
        views: conditions that are computed from the target.
        extras: the modalities of what else items bring.
    """

    def __init__(
        self,
        path: Path,
        part: str,
        modality: Modality,
        conditions: Mapping[str, Modality],
        specs: Mapping[str, Spec],
        views: Mapping[str, Viewed] | None = None,
        extras: Mapping[str, Modality] | None = None,
    ) -> None:
        self.part = part
        self._shelf = Shelf(path)
        self.modality = modality
        self._conditions = dict(conditions)
        self._views = dict(views or {})
        self._extras = dict(extras or {})
        self._specs = dict(specs)
        described = json.loads(self._shelf.metadata[b"layouts"])
        self._layouts = {name: Layout.from_json(layout) for name, layout in described.items()}
        self._present = {name: self._shelf.present(f"{name}.item") for name in self._layouts}
        self.ids = torch.from_numpy(self._shelf.numbers("id").astype(np.int64))

    def batch(self, rows: Sequence[int], *, augment: Augment | None = None, shift: int = 0, epoch: int = 0) -> Batch:
        rows = [int(row) for row in rows]
        ids = self.ids[rows]
        arrays = self._arrays("target", rows)
        if augment is not None:
            arrays = [augment(array, item) for array, item in zip(arrays, ids.tolist(), strict=True)]
        conditions = {name: self._condition(name, rows) for name in self._conditions}
        target = self.modality.collate(arrays)
        for name, view in self._views.items():
            conditions[name] = view.taken(target, derive(ids, f"view:{name}", epoch))
        extra = {name: other.collate(self._arrays(f"extra.{name}", rows)) for name, other in self._extras.items()}
        return Batch(target, conditions=conditions, extra=extra, ids=ids)

    def sizes(self) -> np.ndarray | None:
        columns = [name for name, layout in self._layouts.items() if layout.shape is None]
        return np.sum([self._shelf.sizes(name) for name in columns], axis=0) if columns else None

    def items(self, rows: Sequence[int]) -> list[Item]:
        return self._unpacked(self.modality, "target", rows)

    def condition_items(self, name: str, rows: Sequence[int]) -> list[Item | None]:
        if name in self._views:
            return list(self.items(rows))
        return self._unpacked(self._conditions[name], f"condition.{name}", rows)

    def _arrays(self, column: str, rows: Sequence[int]) -> list[np.ndarray]:
        return self._layouts[column].read(self._shelf, column, rows)

    def _condition(self, name: str, rows: Sequence[int]) -> Field:
        column = f"condition.{name}"
        modality, mask = self._conditions[name], self._present[column]
        if mask is None or mask[rows].all():
            return modality.collate(self._arrays(column, rows))
        present = mask[rows]
        there = iter(self._arrays(column, [row for row, here in zip(rows, present, strict=True) if here]))
        layout = self._layouts[column]
        nothing = np.zeros((1,) if layout.shape is None else layout.shape, dtype=layout.restored)
        field = modality.collate([next(there) if here else nothing for here in present])
        return replace(field, present=torch.from_numpy(present))

    def _unpacked(self, modality: Modality, column: str, rows: Sequence[int]) -> list[Any]:
        rows = [int(row) for row in rows]
        mask = self._present[column]
        found = zip(rows, self._shelf.binary(f"{column}.item", rows), strict=True)
        return [modality.unpack(data.tobytes()) if mask is None or mask[row] else None for row, data in found]
