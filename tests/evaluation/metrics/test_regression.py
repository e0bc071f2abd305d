"""Errors of estimates that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_absolute_error, r2_score
from torch import Tensor

from miaobi import modalities
from miaobi.errors import Diverged, InvalidRecipe, Unsupported
from miaobi.evaluation import score
from miaobi.types import Field
from tests.evaluation.stand_ins import Sampler, context, data, digits, image

TRAIN = [1.0, 2.0, 3.0, 10.0]
HELD = [float(value) for value in range(12)]
NUMBERS = modalities.create("number")
NUMBERS.fit(TRAIN)


class Counter(Sampler):
    """Says twice the row's own number (the stand-in's condition ``kind``)."""

    scale = 2.0

    def predict(self, conditions: dict[str, Field]) -> Tensor:
        said = [NUMBERS.encode(self.scale * float(row)) for row in conditions["kind"].values]
        return torch.from_numpy(np.stack(said))


def measured(family: Sampler, held: list[float] = HELD, **options: object) -> dict:  # type: ignore[type-arg]
    return score(context(family, data(NUMBERS, TRAIN, held), **options), ["regression"])


def test_figures_are_in_the_numbers_own_units_and_floors_are_constants() -> None:
    found = measured(Counter(NUMBERS, TRAIN))
    said = [2.0 * (row % 10) for row in range(12)]
    assert found["absolute_error"].value == pytest.approx(mean_absolute_error(HELD, said), abs=1e-4)
    assert found["r_squared"].value == pytest.approx(r2_score(HELD, said), abs=1e-4)
    assert found["absolute_error"].floor == pytest.approx(mean_absolute_error(HELD, [2.5] * 12))
    assert found["r_squared"].floor == pytest.approx(r2_score(HELD, [4.0] * 12))
    for one in found.values():
        low, high = one.interval
        assert low < one.value < high
    brief = measured(Counter(NUMBERS, TRAIN), count=6, brief=True)
    assert brief["r_squared"].interval is None
    assert brief["r_squared"].protocol["samples"] == 6


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InvalidRecipe, match="all equal"):
        measured(Counter(NUMBERS, TRAIN), [3.0] * 12)
    family = Counter(NUMBERS, TRAIN)
    family.scale = math.inf
    with pytest.raises(Diverged, match="not finite"):
        measured(family)
    with pytest.raises(Unsupported, match="Predicting"):
        measured(Sampler(NUMBERS, TRAIN))
    items = digits(20)
    pictures = image(items)
    with pytest.raises(Unsupported, match="of numbers"):
        score(context(Counter(pictures, items), data(pictures, items[:10], items[10:])), ["regression"])
