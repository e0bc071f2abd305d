"""Precision and recall: near one for one distribution, and each falls for its own reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from miaobi.errors import DataError
from miaobi.evaluation import score
from miaobi.evaluation.metrics._neighbours import kth_nearest, nearest, two_nearest
from miaobi.evaluation.metrics.precision_recall import covered
from tests.evaluation.stand_ins import Sampler, context, data, digits, image


def test_one_distribution_has_both_near_one() -> None:
    x, y = np.random.default_rng(0).normal(size=(2, 600, 2)).astype(np.float32)
    assert covered(x, y, 3).mean() > 0.9
    assert covered(y, x, 3).mean() > 0.9


def test_a_collapsed_model_is_precise_and_recalls_nothing() -> None:
    rng = np.random.default_rng(1)
    real = rng.normal(size=(500, 2)).astype(np.float32)
    collapsed = (rng.normal(size=(500, 2)) * 0.01).astype(np.float32)
    assert covered(collapsed, real, 3).mean() > 0.95
    assert covered(real, collapsed, 3).mean() < 0.05


def test_a_scattered_model_is_imprecise() -> None:
    rng = np.random.default_rng(2)
    real = rng.normal(size=(500, 2)).astype(np.float32)
    scattered = rng.uniform(-30, 30, size=(500, 2)).astype(np.float32)
    assert covered(scattered, real, 3).mean() < 0.1
    assert covered(real, scattered, 3).mean() > 0.8


def test_distances_are_those_of_scipy_in_any_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miaobi.evaluation.metrics._neighbours._ROWS", 7)
    x, y = np.random.default_rng(3).normal(size=(2, 30, 5)).astype(np.float32)
    whole = cdist(x.astype(np.float64), y.astype(np.float64))
    found, where = nearest(x, [y[:11], y[11:12], y[12:]])
    np.testing.assert_allclose(found, whole.min(1))
    np.testing.assert_array_equal(where, whole.argmin(1))
    own = np.sort(cdist(x.astype(np.float64), x.astype(np.float64)), axis=1)
    np.testing.assert_allclose(kth_nearest(x, 3), own[:, 3])


def by_definition(queries: np.ndarray, points: np.ndarray, k: int) -> list[bool]:
    """As the paper has it, pair by pair: the k-th neighbour of an item is another item."""
    found = []
    for query in queries:
        balls = (
            sorted(float(np.linalg.norm(p - q)) for j, q in enumerate(points) if j != i)[k - 1]
            for i, p in enumerate(points)
        )
        found.append(any(np.linalg.norm(query - p) <= radius for p, radius in zip(points, balls, strict=True)))
    return found


@pytest.mark.parametrize("k", [1, 3, 5])
def test_it_is_the_definition(k: int) -> None:
    rng = np.random.default_rng(k)
    x, y = rng.normal(size=(12, 3)), rng.normal(1.5, 1, size=(15, 3))
    for queries, points in ((x, y), (y, x)):
        expected = by_definition(queries, points, k)
        assert covered(queries, points, k).tolist() == expected
        assert not all(expected)


def test_disjoint_sets_have_none_and_equal_ones_all() -> None:
    x = np.random.default_rng(4).normal(size=(50, 6)).astype(np.float32)
    assert not covered(x + 1000, x, 3).any()
    assert covered(x, x, 3).all()


def test_half_of_the_modes_is_precise_and_recalls_half() -> None:
    rng = np.random.default_rng(5)
    modes = rng.normal(size=(2, 200, 2)) + np.array([[[0.0, 0.0]], [[50.0, 0.0]]])
    half = rng.normal(size=(200, 2))
    assert covered(half, np.concatenate(modes), 3).mean() > 0.9
    assert covered(np.concatenate(modes), half, 3).mean() == pytest.approx(0.5, abs=0.03)


@given(st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_copies_of_items_that_come_often_lie_among_them_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    once = (rng.normal(size=(15, rng.integers(2, 300))) * rng.uniform(0.1, 30)).astype(np.float32)
    points = np.repeat(once, 5, axis=0)
    assert covered(once[rng.permutation(15)][:11], points, 3).all()
    assert not kth_nearest(points, 3).any()
    assert not nearest(once, [points])[0].any()


def test_no_more_items_than_neighbours_is_refused() -> None:
    with pytest.raises(DataError, match="more than 3 items"):
        covered(np.zeros((9, 2), np.float32), np.zeros((3, 2), np.float32), 3)


def test_the_floor_is_a_ceiling_measured_on_real_items() -> None:
    items = digits(900)
    modality = image(items)
    found = score(
        context(Sampler(modality, items[600:]), data(modality, items[:300], items[300:600])), ["precision_recall"]
    )
    for figure in ("precision", "recall"):
        assert found[figure].floor == pytest.approx(found[figure].value, abs=0.2)
        assert found[figure].protocol["detail"] == {"neighbours": 3}


def test_outliers_widen_recall_and_not_trimmed_recall() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 2))
    made = np.concatenate([rng.normal(scale=0.01, size=(294, 2)), rng.uniform(-3, 3, (6, 2))])
    assert covered(real, made, 3).mean() > 0.5
    assert covered(real, made, 3, trimmed=True).mean() < 0.02
    assert covered(real, rng.normal(size=(300, 2)), 3, trimmed=True).mean() > 0.6


@given(st.integers(0, 2**32 - 1))
def test_the_two_nearest_are_the_two_smallest_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, points = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=(11, 3)).astype(np.float32)
    found, where = two_nearest(queries, iter([points[:1], points[1:7], points[7:]]))
    expected = np.linalg.norm(queries[:, None].astype(np.float64) - points[None], axis=2)
    assert found == pytest.approx(np.sort(expected, axis=1)[:, :2])
    assert where.tolist() == expected.argmin(1).tolist()
