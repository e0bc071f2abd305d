"""Labels: one of a fixed set of classes."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field as Value
from pydantic import field_validator
from torch import Tensor

from miaobi.errors import CorruptFile, DataError, UnreadableItem, nearest
from miaobi.modalities._base import Item, Modality, Raw
from miaobi.modalities._plain_text import Normalisation, read_text
from miaobi.modalities._state import fitted, read_json, write_json
from miaobi.types import Field, Form, Settings, Spec

MOST_CLASSES = 100_000
_MOST_CHARACTERS = 1000
_FILE = "label.json"
_SHOWN = 40
_ONE_LINE = Normalisation(whitespace="collapse")


class Label(Modality):
    """One of a fixed set of classes; an item is the class's name, a ``str``.

    A number's name is its usual form: ``3`` for 3 and 3.0, ``true`` for True.
    """

    class Config(Settings):
        """The modality's options in a recipe."""

        classes: tuple[str, ...] | None = Value(
            None,
            min_length=1,
            max_length=MOST_CLASSES,
            description="the classes in order; default: those of the training items, sorted, numbers by value",
        )

        @field_validator("classes", mode="before")
        @classmethod
        def _names(cls, value: Any) -> Any:
            if not isinstance(value, list | tuple):
                return value
            try:
                names = [name_of_class(raw) for raw in value]
            except UnreadableItem as error:
                raise ValueError(error.message) from None
            twice = [name for name, count in Counter(names).items() if count > 1]
            if twice:
                raise ValueError(f"classes given twice: {', '.join(twice[:_SHOWN])}")
            return names

    form = Form.LABEL
    identifies = False
    unit = "event"
    extensions: ClassVar[frozenset[str]] = frozenset({".txt"})
    metrics = ("accuracy", "likelihood")

    def __init__(self, config: Settings) -> None:
        super().__init__(config)
        self._classes: tuple[str, ...] | None = None
        self._indices: dict[str, int] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Every class in the order of its index."""
        return fitted(self._classes, self)

    @property
    def spec(self) -> Spec:
        return Spec(Form.LABEL, vocabulary=len(self.classes))

    def read(self, raw: Raw) -> str:
        return name_of_class(raw)

    def pack(self, item: Item) -> bytes:
        return str(item).encode("utf-8")

    def unpack(self, data: bytes) -> str:
        return data.decode("utf-8")

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Take the classes of the recipe, or collect those of the items.

        Raises:
            DataError: no items, more than 100,000 classes, or a value outside the recipe's classes.
        """
        seen = _distinct(items)
        if self.config.classes is None:
            if not seen:
                raise DataError("there are no labels to learn from", cure="check the column of the labels")
            self._set(tuple(sorted(seen, key=_order)))
            return
        self._set(self.config.classes)
        for item in sorted(seen, key=_order):
            self.encode(item)

    def encode(self, item: Item) -> np.ndarray:
        """The class's index, ``int64 []``.

        Raises:
            DataError: not one of the classes; with the nearest.
        """
        classes = self.classes
        if item not in self._indices:
            near = nearest(item, classes)
            shown = ", ".join(classes[:_SHOWN]) + (f", ... ({len(classes)} in all)" if len(classes) > _SHOWN else "")
            cure = f"did you mean {' or '.join(near)}?" if near else None
            raise DataError("not one of the classes", given=item, allowed=shown, cure=cure)
        return np.array(self._indices[item], dtype=np.int64)

    def decode(self, array: np.ndarray) -> str:
        """The class of an index.

        Raises:
            DataError: no such index.
        """
        index = int(array)
        if not 0 <= index < len(self.classes):
            raise DataError("no such class", given=index, allowed=f"0 to {len(self.classes) - 1}")
        return self.classes[index]

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        return Field(torch.tensor([int(array) for array in arrays], dtype=torch.int64))

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        return [np.array(value, dtype=np.int64) for value in values.tolist()]

    def write(self, item: Item, stem: Path) -> list[Path]:
        path = stem.with_name(f"{stem.name}.txt")
        path.write_bytes(self.pack(item) + b"\n")
        return [path]

    def units(self, items: Sequence[Item]) -> Tensor:
        return torch.ones(len(items), dtype=torch.float64)

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        """The number of classes and the count of each of the 100 most common."""
        counts = Counter(items)
        return {"classes": len(counts), "counts": dict(counts.most_common(100))} if counts else {}

    def text(self, item: Item) -> str:
        return str(item)

    def save(self, folder: Path) -> None:
        write_json(folder / _FILE, {"classes": list(self.classes)})

    def load(self, folder: Path) -> None:
        classes = read_json(folder / _FILE).get("classes")
        whole = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        if not whole or not classes or len(set(classes)) != len(classes):
            raise CorruptFile(f"{folder / _FILE} does not hold distinct classes", given=classes)
        self._set(tuple(classes))

    def _set(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._indices = {name: index for index, name in enumerate(classes)}


def name_of_class(raw: Raw) -> str:
    """The name of a class given as text, a number, a truth value, or the path of a file that holds it.

    Raises:
        UnreadableItem: empty, not a number, longer than 1,000 characters, or of another type.
    """
    if isinstance(raw, np.generic) or (isinstance(raw, np.ndarray) and raw.ndim == 0):
        raw = raw.item()
    if isinstance(raw, bool):
        return str(raw).lower()
    if isinstance(raw, Real):
        return _number(raw)
    name = unicodedata.normalize("NFC", read_text(raw, _ONE_LINE).strip())
    if not name or len(name) > _MOST_CHARACTERS:
        raise UnreadableItem("not a label", given=name, allowed=f"1 to {_MOST_CHARACTERS} characters")
    return name


def _number(value: Real) -> str:
    if isinstance(value, Integral):
        return str(int(value))
    number = float(value)
    if not math.isfinite(number):
        raise UnreadableItem("a label is missing or not finite", given=number)
    return str(int(number)) if number.is_integer() else repr(number)


def _distinct(items: Iterable[Item]) -> set[str]:
    seen: set[str] = set()
    for item in items:
        seen.add(item)
        if len(seen) > MOST_CLASSES:
            raise DataError(
                f"more than {MOST_CLASSES} different labels",
                given=item,
                cure="a column with a value of its own in every row is no label; use modality: text",
            )
    return seen


def _order(name: str) -> tuple[bool, float, str]:
    """Numbers by value before words by code point."""
    try:
        value = float(name)
    except ValueError:
        return True, 0.0, name
    return (False, value, name) if math.isfinite(value) else (True, 0.0, name)
