"""Pairs in order, of a family whose margins are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from miaobi.errors import Diverged, InvalidRecipe, Unsupported
from miaobi.evaluation import score
from miaobi.types import Batch
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text

LINES = sentences(60)
WORDS = text(LINES)


class Judge(Sampler):
    """By the item's id: every fourth is wrong, every fourth a tie, the others right; every fifth is no pair."""

    scale = 1.0
    pairs = True

    def margins(self, batch: Batch) -> tuple[Tensor, Tensor]:
        place = batch.ids % 4
        found = torch.where(place == 0, -1.0, torch.where(place == 1, 0.0, 1.0))
        return found * self.scale, (batch.ids % 5 != 0) & self.pairs


def measured(family: Sampler, **options: object) -> object:
    return score(context(family, data(WORDS, LINES[:20], LINES[20:]), **options), ["ranking"])["pairs_in_order"]


def test_ties_are_half_right_and_half_pairs_are_left_out() -> None:
    ids = [one for one in range(1, 41) if one % 5]
    points = [{0: 0.0, 1: 0.5}.get(one % 4, 1.0) for one in ids]
    found = measured(Judge(WORDS, LINES))
    assert found.value == pytest.approx(sum(points) / len(points))
    assert found.floor == 0.5
    assert found.protocol["samples"] == len(ids)
    low, high = found.interval
    assert low < found.value < high
    assert {measured(Judge(WORDS, LINES), batch_rows=rows).value for rows in (1, 7)} == {found.value}
    assert measured(Judge(WORDS, LINES), count=10, brief=True).protocol["samples"] <= 10


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(Unsupported, match="Ranks"):
        measured(Sampler(WORDS, LINES))
    family = Judge(WORDS, LINES)
    family.scale = math.inf
    with pytest.raises(Diverged, match="not finite"):
        measured(family)
    family = Judge(WORDS, LINES)
    family.pairs = False
    with pytest.raises(InvalidRecipe, match="two sides"):
        measured(family)
