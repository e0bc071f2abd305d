"""Texts with a text condition in memory, and a family that answers row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from miaobi.evaluation import Context
from miaobi.modalities import Item, Modality
from miaobi.models import Model
from miaobi.types import Batch, Field
from tests.evaluation.stand_ins import Data, Rows, Sampler, text

NAME = "source"


class PairedRows(Rows):
    """Targets with one text condition each; ``None`` where a target has none."""

    def __init__(self, part: str, items: Sequence[Item], modality: Modality, told: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(part, items, modality)
        self.told = {name: list(texts) for name, texts in told.items()}

    def batch(self, rows: Sequence[int], *, augment: Any = None) -> Batch:
        kinds = Field(torch.tensor(list(rows)))
        return Batch(super().batch(rows).target, {"kind": kinds}, ids=self.ids[list(rows)])

    def condition_items(self, name: str, rows: Sequence[int]) -> list[Item | None]:
        return [self.told[name][row] for row in rows]


class Answers(Sampler):
    """Gives the answer that stands at the row that a sample is conditioned on."""

    def __init__(self, modality: Modality, answers: Sequence[str], conditions: Mapping[str, Modality]) -> None:
        super().__init__(modality, answers)
        self.conditions = {name: condition.spec for name, condition in conditions.items()}

    def sample(self, conditions: dict[str, Field], **options: Any) -> Any:
        rows = conditions["kind"].values
        self.pick = lambda seeds: rows
        return super().sample(conditions, **options)


def paired(
    answers: Sequence[str],
    real: Sequence[str],
    told: Sequence[str | None] | None = None,
    more: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> Context:
    """A context whose generated items are ``answers``, beside ``real`` ones, given ``told`` (default: ``real``)."""
    given: dict[str, Sequence[Any]] = {NAME: real if told is None else told, **(more or {})}
    every = [*answers, *real, *(text for texts in given.values() for text in texts if text is not None)]
    modality = text(every, max_length=1000)
    conditions = {name: text(every, max_length=1000) for name in given}
    held = PairedRows("validation", real, modality, given)
    prepared = Data(modality, held, held, held, conditions)
    family = Answers(modality, answers, conditions)
    return Context(Model(family, modality, conditions), prepared, part="validation", **options)  # type: ignore[arg-type]
