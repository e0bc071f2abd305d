"""Classifiers that read an image or a text, and whose weaknesses are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from miaobi import modalities
from miaobi.evaluation import Context
from miaobi.modalities import Item, Modality
from miaobi.models import Model
from miaobi.types import Batch, Field
from tests.evaluation.stand_ins import Data, Rows, Sampler

NAME = "read"


class ReadRows(Rows):
    """Labels, each with what it is to be told from."""

    def __init__(
        self, part: str, labels: Sequence[str], kinds: Modality, items: Sequence[Item], read: Modality
    ) -> None:
        super().__init__(part, labels, kinds)
        self.told, self.read_as = list(items), read

    def batch(self, rows: Sequence[int], *, augment: Any = None) -> Batch:
        field = self.read_as.collate([self.read_as.encode(self.told[row]) for row in rows])
        return Batch(super().batch(rows).target, {NAME: field}, ids=self.ids[list(rows)])

    def condition_items(self, name: str, rows: Sequence[int]) -> list[Item | None]:
        assert name == NAME
        return [self.told[row] for row in rows]


class Reader(Sampler):
    """Says what a function says of the values that it reads."""

    read = NAME

    def __init__(self, kinds: Modality, said_of: Callable[[Field], Tensor]) -> None:
        super().__init__(kinds, kinds.config.classes[:1])  # type: ignore[attr-defined]
        self.said_of = said_of

    def said(self, conditions: dict[str, Field], rows: int) -> Tensor:
        found = self.said_of(conditions[NAME])
        assert len(found) == rows
        return found


def labels(*classes: str) -> Modality:
    """A fitted label modality."""
    made = modalities.create({"name": "label", "classes": list(classes)})
    made.fit([])
    return made


def reading(
    said_of: Callable[[Field], Tensor],
    read: Modality,
    items: Sequence[Item],
    wanted: Sequence[str],
    training: Sequence[Item] | None = None,
    **options: Any,
) -> Context:
    """A context of a `Reader` on held-out ``items`` of the classes ``wanted``."""
    kinds = labels(*sorted(set(wanted)))
    held = ReadRows("validation", wanted, kinds, items, read)
    known = items if training is None else training
    train = ReadRows("train", [wanted[0]] * len(known), kinds, known, read)
    prepared = Data(kinds, train, held, held, {NAME: read})
    model = Model(Reader(kinds, said_of), kinds, {NAME: read})
    return Context(model, prepared, part="validation", **{"extractor": "pixels", **options})  # type: ignore[arg-type]


def linear(weights: Tensor, bias: float = 0.0) -> Callable[[Field], Tensor]:
    """Two logits: nought, and the inner product of the values with ``weights``."""

    def said(field: Field) -> Tensor:
        score = field.values.flatten(1) @ weights.flatten() + bias
        return torch.stack([torch.zeros_like(score), score], 1)

    return said
