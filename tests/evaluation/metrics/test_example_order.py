"""The order of examples, of models whose answers to it are known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics.example_order import ExampleOrder
from miaobi.types import Batch, Bound, Field
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text
from tests.support.protocols import check

KINDS = modalities.create({"name": "label", "classes": ["a", "b", "c"]})
KINDS.fit([])
HELD = list("abcabcabcabc")


class Swayed(Sampler):
    """Names the right class of the first items in the usual order, of fewer by ``loss`` in each other order."""

    shown_count = 3
    order = 0
    loss = 2

    @contextmanager
    def ordered(self, order: int) -> Iterator[None]:
        self.order = order
        yield
        self.order = 0

    def predict(self, conditions: dict[str, Field]) -> Tensor:
        rows = conditions["kind"].values
        right = rows < 9 - self.loss * self.order
        guessed = torch.where(right, rows % 3, (rows + 1) % 3)
        return torch.nn.functional.one_hot(guessed, 3).float().log_softmax(1)

    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        nats = torch.full((len(batch),), 10.0 + self.order)
        return Bound(nats, exact=True, predicted=torch.ones(len(batch)))


def rows_of_kind() -> np.ndarray:
    """The stand-in's condition ``kind``: the row modulo ten."""
    return np.arange(len(HELD)) % 10


def test_spread_and_flips_are_counted_by_hand() -> None:
    found = score(context(Swayed(KINDS, ["a"]), data(KINDS, list("abc"), HELD)), ["example_order"])
    rows, wanted = rows_of_kind(), np.arange(len(HELD)) % 3
    guessed = np.stack([np.where(rows < 9 - 2 * order, rows % 3, (rows + 1) % 3) for order in range(4)])
    accuracy = (guessed == wanted).mean(1)
    assert accuracy.max() > accuracy.min()
    assert found["accuracy_spread"].value == pytest.approx(accuracy.max() - accuracy.min())
    assert found["flip_rate"].value == pytest.approx((guessed != guessed[0]).any(0).mean())
    for figure, one in found.items():
        check(ExampleOrder(ExampleOrder.Config()), figure, one)
        assert one.interval[0] <= one.value <= one.interval[1]


def test_a_model_that_minds_no_order_has_neither() -> None:
    family = Swayed(KINDS, ["a"])
    family.loss = 0
    found = score(context(family, data(KINDS, list("abc"), HELD)), ["example_order"])
    assert found["accuracy_spread"].value == found["flip_rate"].value == 0


def test_texts_have_a_spread_of_bits() -> None:
    lines = sentences(40)
    modality = text(lines)
    prepared = data(modality, lines[:20], lines[20:])
    options = {"example_order": {"orders": 3}}
    found = score(context(Swayed(modality, lines[:2]), prepared), ["example_order"], options)
    size = sum(len(line.encode()) for line in lines[20:])
    assert list(found) == ["bits_spread"]
    assert found["bits_spread"].value == pytest.approx(2 * 20 / math.log(2) / size)


def test_one_example_has_one_order() -> None:
    family = Swayed(KINDS, ["a"])
    family.shown_count = 1
    with pytest.raises(Unsupported, match="one example has one order"):
        ExampleOrder.check(family, KINDS)
