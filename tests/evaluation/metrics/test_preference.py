"""Preferences against families whose likelihoods are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from miaobi.errors import Diverged, Incomparable, InvalidRecipe
from miaobi.evaluation import Context, score
from miaobi.evaluation.comparability import require_comparable
from miaobi.evaluation.metrics.preference import Preference, area
from miaobi.modalities import Modality
from miaobi.types import Batch, Bound, Field
from tests.evaluation.stand_ins import Data, Rows, Sampler, context, data, sentences, text
from tests.support.protocols import check

LINES = sentences(60)


class Judge(Sampler):
    """Its negative log-likelihood of a text is what a function says."""

    def __init__(self, modality: Modality, nats: Callable[[str], float]) -> None:
        super().__init__(modality, LINES[:2])
        self.nats, self.modality = nats, modality

    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        arrays = self.modality.split_batch(batch.target.values, batch.target.lengths)
        nats = torch.tensor([self.nats(self.modality.decode(array)) for array in arrays])
        return Bound(nats, exact=True, predicted=batch.target.mask().sum(1) + 1)


class Judged(Rows):
    """Rows with extras."""

    extra: Mapping[str, list[Any]]

    def batch(self, rows: Any, *, augment: Any = None) -> Batch:
        found = {}
        for name, values in self.extra.items():
            chosen = [values[row] for row in rows]
            if name == "rejected":
                found[name] = self.modality.collate([self.modality.encode(item) for item in chosen])
            else:
                found[name] = Field(torch.tensor(chosen))
        return replace(super().batch(rows, augment=augment), extra=found)


def world(
    nats: Callable[[str], float], reference: Callable[[str], float] | None = None, extra: Any = None, **options: Any
) -> Context:
    modality = text(LINES)
    held = Judged("validation", LINES[:30], modality)
    held.extra = extra or {"rejected": LINES[30:]}
    family = Judge(modality, nats)
    if reference is not None:
        family.parts_by_name.add("reference", Judge(modality, reference))
    prepared = Data(modality, held, held, Rows("test", [], modality))
    return context(family, prepared, **options)


def preferring(count: int) -> Callable[[str], float]:
    """Gives ``count`` of the 30 first lines, and none of the others, 5 nats less than the rest."""
    return lambda line: 20.0 - 5.0 * (line in LINES[:count])


def test_a_model_that_prefers_24_of_30_has_that_accuracy_with_wilsons_interval() -> None:
    found = score(
        world(
            lambda line: 20.0 - 5.0 * (LINES.index(line) < 24) + 5.0 * (24 <= LINES.index(line) < 30), lambda line: 20.0
        ),
        ["preference"],
    )
    assert found["preference_accuracy"].value == 24 / 30
    assert found["margin"].value == pytest.approx((24 * 5 - 6 * 5) / 30)
    low, high = found["preference_accuracy"].interval  # type: ignore[misc]
    z, share = 1.959964, 24 / 30
    centre, half = (
        (share + z**2 / 60) / (1 + z**2 / 30),
        z / (1 + z**2 / 30) * math.sqrt(share * 0.2 / 30 + z**2 / 3600),
    )
    assert (low, high) == (pytest.approx(centre - half, abs=1e-4), pytest.approx(centre + half, abs=1e-4))
    for figure, one in found.items():
        check(Preference(Preference.Config()), figure, one)


def test_equal_rewards_count_one_half_and_swapped_sides_turn_it_round() -> None:
    assert (
        score(world(lambda line: 7.0, lambda line: 3.0), ["preference.preference_accuracy"])[
            "preference_accuracy"
        ].value
        == 0.5
    )
    right = score(world(preferring(24), lambda line: 1.0), ["preference"])
    wrong = score(world(lambda line: -preferring(24)(line), lambda line: 1.0), ["preference"])
    assert right["preference_accuracy"].value == (24 + 3) / 30
    assert wrong["preference_accuracy"].value == pytest.approx(1 - right["preference_accuracy"].value)
    assert wrong["margin"].value == -right["margin"].value


def test_rewards_are_above_the_references() -> None:
    """A text that both models find likely is no better for that."""
    likely = preferring(30)
    assert score(world(likely, likely), ["preference"])["preference_accuracy"].value == 0.5
    assert score(world(likely, likely), ["preference"])["margin"].value == 0
    assert score(world(likely), ["preference"])["preference_accuracy"].value > 0.5


def test_without_a_reference_it_is_by_the_token_and_does_not_compare() -> None:
    def by_length(line: str) -> float:
        return 2.0 * (len(line) + 1)

    alone = score(world(by_length), ["preference"])
    assert alone["preference_accuracy"].value == 0.5
    assert alone["margin"].value == pytest.approx(0)
    assert alone["preference_accuracy"].protocol["reward"] == "log-likelihood of a token"
    with_reference = score(world(by_length, lambda line: 1.0), ["preference"])
    with pytest.raises(Incomparable, match="reward"):
        require_comparable(alone["preference_accuracy"], with_reference["preference_accuracy"])


def test_marks_are_compared_across_items_as_a_roc_curve_is() -> None:
    marks = [index % 3 == 0 for index in range(30)]
    rewards = np.random.default_rng(0).normal(size=30).round(1)
    found = score(
        world(lambda line: -float(rewards[LINES.index(line)]), lambda line: 0.0, {"desirable": marks}), ["preference"]
    )
    assert found["preference_accuracy"].value == pytest.approx(roc_auc_score(marks, rewards))
    good = rewards[::3].mean()
    assert found["margin"].value == pytest.approx(good - np.delete(rewards, np.s_[::3]).mean(), abs=1e-6)
    assert found["preference_accuracy"].protocol["interval_method"] == "95 %, DeLong"


def test_delongs_interval_covers_as_it_says() -> None:
    """Of two normals a standard deviation apart the area is the normal distribution's at one over root two."""
    rng = np.random.default_rng(1)
    truth, hits = 0.5 * (1 + math.erf(0.5)), 0
    for _ in range(300):
        _, interval = area(rng.normal(1, 1, 60), rng.normal(0, 1, 90))
        hits += interval[0] <= truth <= interval[1]  # type: ignore[index]
    assert 0.9 <= hits / 300 <= 0.99


def test_the_floor_is_what_length_alone_tells() -> None:
    short, long = sorted(LINES, key=len)[:30], sorted(LINES, key=len)[30:]
    modality = text(LINES)
    held = Judged("validation", short, modality)
    held.extra = {"rejected": long}
    family = Judge(modality, lambda line: 1.0)
    found = score(context(family, Data(modality, held, held, Rows("test", [], modality))), ["preference"])
    expected = np.mean([(len(a) < len(b)) + (len(a) == len(b)) / 2 for a, b in zip(short, long, strict=True)])
    assert found["preference_accuracy"].floor == pytest.approx(expected)
    assert found["margin"].floor is None


def test_a_look_during_training_takes_some_items_and_no_interval() -> None:
    found = score(world(preferring(30), lambda line: 1.0, brief=True, count=10), ["preference"])
    assert found["preference_accuracy"].interval is None
    assert found["preference_accuracy"].protocol["samples"] == 10


def test_what_cannot_be_measured_is_refused() -> None:
    modality = text(LINES)
    plain = context(Judge(modality, lambda line: 1.0), data(modality, LINES[:30], LINES[30:]))
    with pytest.raises(InvalidRecipe, match=r"data\.extra"):
        score(plain, ["preference"])
    with pytest.raises(InvalidRecipe, match="all desirable"):
        score(world(lambda line: 1.0, extra={"desirable": [True] * 30}), ["preference"])
    with pytest.raises(Diverged):
        score(world(lambda line: math.nan), ["preference"])
