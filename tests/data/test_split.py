from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.data.split import TEST, TRAIN, VALIDATION, assign_parts, position_ends
from miaobi.errors import DataError
from miaobi.recipe import Split

IDS = st.lists(st.integers(1, 2**63 - 1), min_size=8, max_size=200, unique=True)


def parts_of(ids, groups=None, given=None, **options):
    ids = np.array(ids, dtype=np.int64)
    groups = np.arange(len(ids)) if groups is None else np.array(groups)
    given = np.zeros(len(ids), dtype=np.int8) if given is None else np.array(given, dtype=np.int8)
    return assign_parts(Split(**options), ids, groups, given)


def share(parts: np.ndarray, part: int) -> float:
    return float((parts == part).mean())


def test_shares_are_kept() -> None:
    ids = np.random.default_rng(0).integers(1, 2**63 - 1, 20_000)
    parts = parts_of(ids).parts
    assert abs(share(parts, VALIDATION) - 0.1) < 0.01
    assert abs(share(parts, TEST) - 0.1) < 0.01


@given(IDS, st.data())
@settings(deadline=None, max_examples=60)
def test_no_group_is_divided_and_no_part_is_empty(ids: list[int], data: st.DataObject) -> None:
    groups = data.draw(st.permutations([place // 2 for place in range(len(ids))]))
    parts = parts_of(ids, groups).parts
    for group in set(groups):
        assert len({part for part, other in zip(parts, groups, strict=True) if other == group}) == 1
    assert set(parts.tolist()) == {TRAIN, VALIDATION, TEST}


@given(IDS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_the_order_of_items_does_not_matter(ids: list[int], random) -> None:
    order = list(range(len(ids)))
    random.shuffle(order)
    parts = parts_of(ids).parts
    assert parts_of([ids[place] for place in order]).parts.tolist() == parts[order].tolist()


def test_adding_data_moves_nothing() -> None:
    ids = np.random.default_rng(1).integers(1, 2**63 - 1, 3000)
    assert parts_of(ids).parts[:2000].tolist() == parts_of(ids[:2000]).parts.tolist()


def test_small_data_still_holds_something_out() -> None:
    for seed in range(20):
        parts = parts_of(np.random.default_rng(seed).integers(1, 2**63 - 1, 5)).parts
        assert sorted(np.bincount(parts, minlength=3).tolist()) == [1, 1, 3]


def test_nothing_is_held_out_where_shares_are_zero() -> None:
    assert not parts_of(range(1, 50), validation=0, test=0).parts.any()


def test_a_giant_group_is_trained_on() -> None:
    groups = [0] * 80 + list(range(1, 21))
    parts = parts_of(range(1, 101), groups).parts
    assert set(parts[:80].tolist()) == {TRAIN}
    assert {VALIDATION, TEST} <= set(parts[80:].tolist())


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("by", ["hash", "position"])
def test_too_little_is_an_error_with_a_cure(count: int, by: str) -> None:
    with pytest.raises(DataError, match="hold out less"):
        parts_of(range(1, count + 1), by=by)


def test_one_group_cannot_be_divided() -> None:
    with pytest.raises(DataError, match="1 groups"):
        parts_of(range(1, 50), [0] * 49)


def test_position_holds_out_the_last() -> None:
    assert parts_of(range(1, 11), by="position").parts.tolist() == [TRAIN] * 8 + [VALIDATION, TEST]


@given(st.integers(100, 10**9), st.sampled_from([(0.1, 0.0), (0.1, 0.1), (0.05, 0.2), (0.0, 0.3)]))
def test_positions_are_the_floor_of_the_shares(count: int, shares: tuple[float, float]) -> None:
    train, validation = position_ends(count, Split(validation=shares[0], test=shares[1]))
    assert abs(train - count * (1 - sum(shares))) <= 1
    assert abs(validation - train - count * shares[0]) <= 1
    assert (validation == count) == (shares[1] == 0)


def test_the_usual_division_of_shakespeare() -> None:
    assert position_ends(1_115_394, Split(validation=0.1, test=0)) == (1_003_854, 1_115_394)


def test_given_parts_stay_and_missing_ones_are_carved_out_of_training() -> None:
    given = [TRAIN] * 90 + [TEST] * 10
    made = parts_of(range(1, 101), given=given, by="given")
    assert made.parts[90:].tolist() == [TEST] * 10
    assert set(made.parts[:90].tolist()) == {TRAIN, VALIDATION}
    assert made.notes == ("validation was carved out of train",)
    with pytest.raises(DataError, match="nothing to train on"):
        parts_of(range(1, 4), given=[TEST] * 3, by="given")
