"""Runs are found wherever they stand, and what is glued together from any number of items is told from what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.evaluation import Score, score
from miaobi.evaluation.metrics._runs import coverage
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text

LINES = sentences(400)
WORDS = st.text("ab", max_size=9)


def by_hand(query: str, others: list[str], size: int) -> float:
    places = [
        any(
            query[start : start + size] in other
            for start in range(max(0, place - size + 1), min(place, len(query) - size) + 1)
            for other in others
        )
        for place in range(len(query))
    ]
    return float(np.mean(places)) if places else 0.0


@given(st.lists(WORDS, min_size=1, max_size=4), st.lists(WORDS, min_size=1, max_size=4))
def test_coverage_is_what_it_is_by_hand(queries: list[str], others: list[str]) -> None:
    sizes = [1, 2, 3, 5]
    found = coverage(queries, iter([others[:2], others[2:]]), sizes)
    expected = [[by_hand(query, others, size) for query in queries] for size in sizes]
    assert found == pytest.approx(np.array(expected))


def test_no_run_goes_from_one_item_into_the_next() -> None:
    assert coverage(["abcd"], iter([["ab", "cd"]]), [2, 3]).tolist() == [[1.0], [0.0]]
    assert coverage(["ab", "cd"], iter([["bc"]]), [2]).tolist() == [[0.0, 0.0]]


def share(pool: list[str], **options: Any) -> Score:
    order = iter(range(10**6))
    modality = text(LINES)
    family = Sampler(modality, pool, pick=lambda seeds: seeds.new_tensor([next(order) % len(pool) for _ in seeds]))
    made = context(family, data(modality, LINES[:200], LINES[200:300]))
    return score(made, ["stitching"], {"stitching": options})["stitched_share"]


def test_thirds_of_three_items_are_stitched_and_other_items_are_not() -> None:
    train = LINES[:200]
    thirds = [
        one[: len(one) // 3] + two[len(two) // 3 : 2 * len(two) // 3] + three[2 * len(three) // 3 :]
        for one, two, three in zip(train, train[3:], train[7:], strict=False)
    ]
    glued, honest = share(thirds), share(LINES[300:])
    assert honest.floor is not None
    assert honest.floor <= 1 / 3
    assert honest.interval is not None
    assert honest.interval[0] <= honest.floor + 0.1
    assert glued.interval is not None
    assert glued.interval[0] > honest.floor + (1 - honest.floor) / 2
    assert glued.protocol["unit"] == f"share of letters and digits in runs of {glued.protocol['detail']['run']}"


def test_a_length_may_be_asked_for() -> None:
    assert share(LINES[:100], run=12).value == 1
    assert share(LINES[300:], run=12).protocol["detail"]["run"] == 12
