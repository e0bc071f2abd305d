"""Numbers: a rating, a price, a length."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from numbers import Real
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import CorruptFile, DataError, UnreadableItem
from miaobi.modalities._base import Item, Modality, Raw, quantiles
from miaobi.modalities._plain_text import Normalisation, read_text
from miaobi.modalities._state import fitted, read_json, write_json
from miaobi.types import Field, Form, Spec

LARGEST = 1e30
_FILE = "number.json"
_ONE_LINE = Normalisation(whitespace="collapse")


class Number(Modality):
    """A finite number; an item is a ``float``, an array its distance from the mean in standard deviations.

    Mean and deviation are those of the training items. Read from text, a number has a point and no separators.
    """

    form = Form.TENSOR
    identifies = False
    unit = "dimension"
    metrics: ClassVar[tuple[str, ...]] = ("regression",)

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._scale: tuple[float, float] | None = None

    @property
    def spec(self) -> Spec:
        fitted(self._scale, self)
        return Spec(Form.TENSOR, channels=1)

    def read(self, raw: Raw) -> float:
        if isinstance(raw, bool):
            raise UnreadableItem("a truth value is no number", given=raw, cure="use modality: label")
        if isinstance(raw, np.ndarray) and raw.ndim == 0:
            raw = raw.item()
        if not isinstance(raw, Real | np.number):
            raw = read_text(raw, _ONE_LINE).strip()
            if "_" in raw:
                raise UnreadableItem("not a number", given=raw, allowed="digits with a point and no separators")
        try:
            value = float(raw)  # type: ignore[arg-type]
        except (ValueError, OverflowError):
            raise UnreadableItem("not a number", given=str(raw)[:40]) from None
        if not abs(value) <= LARGEST:
            raise UnreadableItem("a number is not finite or too large", given=value, allowed=f"up to {LARGEST:g}")
        return value

    def pack(self, item: Item) -> bytes:
        return struct.pack("<d", item)

    def unpack(self, data: bytes) -> float:
        return float(struct.unpack("<d", data)[0])

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Learn mean and standard deviation.

        Raises:
            DataError: no items, or all of them equal.
        """
        values = np.fromiter(items, dtype=np.float64)
        deviation = float(values.std()) if len(values) else 0.0
        if deviation == 0:
            raise DataError("there is nothing to tell apart", given=f"{len(values)} numbers, all of them equal")
        self._scale = float(values.mean()), deviation

    def encode(self, item: Item) -> np.ndarray:
        """``float32 [1]``."""
        mean, deviation = fitted(self._scale, self)
        return np.array([(item - mean) / deviation], dtype=np.float32)

    def decode(self, array: np.ndarray) -> float:
        mean, deviation = fitted(self._scale, self)
        return float(np.float64(array[0]) * deviation + mean)

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        return Field(torch.from_numpy(np.stack(arrays)))

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        return list(values.float().cpu().numpy())

    def write(self, item: Item, stem: Path) -> list[Path]:
        path = stem.with_name(f"{stem.name}.txt")
        path.write_text(f"{self.text(item)}\n", encoding="utf-8")
        return [path]

    def units(self, items: Sequence[Item]) -> Tensor:
        return torch.ones(len(items), dtype=torch.float64)

    def describe(self, items: Sequence[Item]) -> dict[str, Any]:
        return {"value": quantiles(items)} if items else {}

    def text(self, item: Item) -> str:
        """Seven significant digits: no array holds more."""
        return f"{item:.7g}"

    def save(self, folder: Path) -> None:
        mean, deviation = fitted(self._scale, self)
        write_json(folder / _FILE, {"mean": mean, "deviation": deviation})

    def load(self, folder: Path) -> None:
        state = read_json(folder / _FILE)
        try:
            mean, deviation = float(state["mean"]), float(state["deviation"])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFile(f"{folder / _FILE} does not describe numbers: {error!r}") from None
        if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0):
            raise CorruptFile(f"{folder / _FILE} does not describe numbers", given=state)
        self._scale = mean, deviation
