"""The modality of a condition that is a view of the target: reads a user's file as the view would have made it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.modalities._base import Item, Modality, Raw
from miaobi.modalities.views import View
from miaobi.types import Field, Form, Settings, Spec


class Viewed(Modality):
    """Items are the target's; a batch of them is what the view makes of what a user gives.

    Args:
        inner: the target's modality.
        view: what the condition is.
        section: the view as the recipe names it, for a model's description.
    """

    unit = "dimension"

    def __init__(self, inner: Modality, view: View, section: dict[str, Any]) -> None:
        super().__init__(Settings())
        self.inner, self.view, self.section = inner, view, section
        self.form: Form = view.form  # type: ignore[misc]
        self.extensions = inner.extensions  # type: ignore[misc]

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def spec(self) -> Spec:
        return self.view.spec(self.inner.spec)

    def taken(self, target: Field, seeds: Tensor) -> Field:
        """The view of a batch of targets."""
        return Field(self.view(target.values, seeds), lengths=target.lengths)

    def collate(self, arrays: Sequence[np.ndarray]) -> Field:
        return self.given(self.inner.collate(arrays))

    def given(self, target: Field, mask: Tensor | None = None) -> Field:
        """What a user gave, encoded as a target, as the view would have made it; see `View.given`."""
        return Field(self.view.given(target.values, mask), lengths=target.lengths)

    def masked(self, arrays: Sequence[np.ndarray], mask: Tensor) -> Field:
        """`collate` with a mask ``[B, 1, *space]``, 1 where the target is to be made anew."""
        return self.given(self.inner.collate(arrays), mask)

    def read(self, raw: Raw) -> Item:
        return self.inner.read(raw)

    def pack(self, item: Item) -> bytes:
        return self.inner.pack(item)

    def unpack(self, data: bytes) -> Item:
        return self.inner.unpack(data)

    def fit(self, items: Iterable[Item], *, stream: bool = False) -> None:
        """Nothing: the target's modality has learnt what there is."""

    def encode(self, item: Item) -> np.ndarray:
        return self.inner.encode(item)

    def decode(self, array: np.ndarray) -> Item:
        return self.inner.decode(array)

    def split_batch(self, values: Tensor, lengths: Tensor | None) -> list[np.ndarray]:
        raise Unsupported("a view is never generated", cure="generate the target")

    def write(self, item: Item, stem: Path) -> list[Path]:
        return self.inner.write(item, stem)

    def html(self, item: Item) -> str:
        return self.inner.html(item)

    def units(self, items: Sequence[Item]) -> Tensor:
        return torch.full((len(items),), self.spec.size, dtype=torch.float64)
