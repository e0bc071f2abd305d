"""Precision and recall: near one for one distribution, and each falls for its own reason."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from miaobi.errors import DataError
from miaobi.evaluation import score
from miaobi.evaluation.metrics._neighbours import kth_nearest, nearest
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
