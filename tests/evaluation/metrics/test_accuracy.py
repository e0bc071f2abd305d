"""Accuracy of classifiers whose guesses are known, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score
from torch import Tensor

from miaobi import modalities
from miaobi.errors import Diverged, Unsupported
from miaobi.evaluation import Direction, score
from miaobi.evaluation.metrics.accuracy import macro_f1
from miaobi.types import Field
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text

KINDS = modalities.create({"name": "label", "classes": ["a", "b", "c"]})
KINDS.fit([])


class Guesser(Sampler):
    """Guesses by the row's own number (the stand-in's condition ``kind``), the class with that number modulo two."""

    broken = False

    def predict(self, conditions: dict[str, Field]) -> Tensor:
        rows = conditions["kind"].values
        log_probs = torch.full((len(rows), 3), -5.0)
        log_probs[torch.arange(len(rows)), rows % 2] = -0.1
        return log_probs * math.nan if self.broken else log_probs


TRAIN = list("aabbb")
HELD = list("abcabcabcbbbaab")


def measured(**options: object) -> dict:  # type: ignore[type-arg]
    return score(context(Guesser(KINDS, ["a"]), data(KINDS, TRAIN, HELD), **options), ["accuracy"])


def test_figures_and_floors_are_those_of_the_guesses() -> None:
    found = measured()
    wanted = np.array(["abc".index(one) for one in HELD])
    guessed = np.array([row % 10 % 2 for row in range(len(HELD))])
    assert list(found) == ["accuracy", "macro_f1"]
    assert found["accuracy"].value == pytest.approx((wanted == guessed).mean())
    assert found["macro_f1"].value == pytest.approx(f1_score(wanted, guessed, average="macro"))
    assert found["accuracy"].floor == pytest.approx((wanted == 1).mean()), "b is the commonest in training"
    assert found["macro_f1"].floor == pytest.approx(f1_score(wanted, np.ones_like(wanted), average="macro"))
    for one in found.values():
        low, high = one.interval
        assert low < one.value < high
        assert Direction(one.protocol["direction"]) is Direction.HIGHER
    classes = found["accuracy"].protocol["detail"]["classes"]
    assert list(classes) == ["b", "a", "c"]
    assert classes["c"] == {"precision": 0.0, "recall": 0.0, "items": 3}
    assert classes["a"]["recall"] == pytest.approx((guessed[wanted == 0] == 0).mean())


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30))
@settings(deadline=None)
def test_macro_f1_is_the_mean_over_the_classes_there_are(pairs: list[tuple[int, int]]) -> None:
    wanted, guessed = np.array(pairs).T
    expected = f1_score(wanted, guessed, average="macro", labels=np.unique(wanted), zero_division=0)
    assert macro_f1(wanted, guessed) == pytest.approx(expected)


def test_a_brief_look_costs_no_interval_of_f1_and_scores_do_not_hang_on_the_batch() -> None:
    brief = measured(count=5, brief=True)
    assert brief["macro_f1"].interval is None
    assert brief["accuracy"].protocol["samples"] == 5
    assert len({measured(batch_rows=rows)["accuracy"].value for rows in (1, 4, 64)}) == 1


def test_what_cannot_be_measured_is_refused() -> None:
    lines = sentences(30)
    words = text(lines)
    with pytest.raises(Unsupported, match="does not apply to text"):
        score(context(Guesser(words, lines), data(words, lines[:20], lines[20:])), ["accuracy"])
    with pytest.raises(Unsupported, match="Predicting"):
        score(context(Sampler(KINDS, ["a"]), data(KINDS, TRAIN, HELD)), ["accuracy"])
    family = Guesser(KINDS, ["a"])
    family.broken = True
    with pytest.raises(Diverged, match="not finite"):
        score(context(family, data(KINDS, TRAIN, HELD)), ["accuracy"])
