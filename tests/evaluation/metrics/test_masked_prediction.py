"""Masked prediction of families whose predictions are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from miaobi.errors import Diverged, InvalidRecipe, Unsupported
from miaobi.evaluation import Direction, score
from miaobi.evaluation.metrics.masked_prediction import RATE
from miaobi.sampling.noise import uniform
from miaobi.types import Batch
from tests.evaluation.stand_ins import Data, Sampler, context, data, sentences, text

LINES = sentences(60)
WORDS = text(LINES)


class Half(Sampler):
    """Two nats a masked token, every second item right, a masked token for every ten of an item."""

    nats = 2.0
    rates: list[float]

    def predict_masked(self, batch: Batch, rate: float, seeds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.rates = [*getattr(self, "rates", []), rate]
        counts = batch.target.mask().sum(1) // 10
        jitter = 0.5 + uniform(seeds, "jitter")
        return self.nats * counts * jitter, counts * (batch.ids % 2), counts


def prepared() -> Data:
    return data(WORDS, LINES[:20], LINES[20:])


def measured(family: Half, **options: object) -> dict:  # type: ignore[type-arg]
    return score(context(family, prepared(), **options), ["masked_prediction"])


def test_figures_are_totals_over_masked_tokens() -> None:
    family = Half(WORDS, LINES)
    found = measured(family)
    held = prepared().validation
    counts = [len(array) // 10 for array in held.arrays]
    right = sum(count for count, item in zip(counts, held.ids.tolist(), strict=True) if item % 2)
    assert list(found) == ["masked_nats", "masked_accuracy"]
    assert found["masked_nats"].value == pytest.approx(2.0, abs=0.3)
    assert found["masked_accuracy"].value == pytest.approx(right / sum(counts))
    assert set(family.rates) == {RATE}
    stamp = found["masked_nats"].protocol
    assert (stamp["samples"], stamp["detail"]["masked"]) == (40, sum(counts))
    assert stamp["tokenizer_bound"] is True
    assert "likelihood" not in stamp
    assert Direction(stamp["direction"]) is Direction.LOWER
    for one in found.values():
        low, high = one.interval
        assert low < one.value < high


def test_the_floor_is_the_training_datas_commonest_token() -> None:
    letters = "".join(LINES[:20])
    commonest = max(set(letters), key=letters.count)
    held = "".join(LINES[20:])
    found = measured(Half(WORDS, LINES))
    assert found["masked_accuracy"].floor == pytest.approx(held.count(commonest) / len(held))
    assert found["masked_nats"].floor is None


def test_masks_hang_on_the_item_and_not_on_the_batch() -> None:
    values = {measured(Half(WORDS, LINES), batch_rows=rows)["masked_nats"].value for rows in (1, 7, 64)}
    assert max(values) - min(values) < 1e-6
    assert measured(Half(WORDS, LINES), seed=1)["masked_nats"].value not in values


def test_a_brief_look_takes_evenly_spaced_items_and_no_floor() -> None:
    brief = measured(Half(WORDS, LINES), count=10, brief=True)
    assert brief["masked_nats"].protocol["samples"] == 10
    assert brief["masked_accuracy"].floor is None


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(Unsupported, match="PredictsMasked"):
        score(context(Sampler(WORDS, LINES), prepared()), ["masked_prediction"])
    family = Half(WORDS, LINES)
    family.nats = math.inf
    with pytest.raises(Diverged, match="not finite"):
        measured(family)
    family = Half(WORDS, LINES)
    family.predict_masked = lambda batch, rate, seeds: (torch.zeros(len(batch)),) * 3  # type: ignore[method-assign]
    with pytest.raises(InvalidRecipe, match="no tokens to mask"):
        measured(family)
