"""Frechet distance against the closed form, singular covariances, and its own bias."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import linalg

from miaobi.evaluation import score
from miaobi.evaluation.metrics._intervals import jackknife
from miaobi.evaluation.metrics.frechet_distance import frechet
from tests.evaluation.stand_ins import Sampler, context, data, digits, image


def exactly(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Vectors whose sample mean and covariance are exactly those given."""
    x = np.random.default_rng(seed).normal(size=(count, len(mean)))
    x -= x.mean(0)
    whitened = x @ np.linalg.inv(linalg.cholesky(np.cov(x.T)))
    found: np.ndarray = mean + whitened @ linalg.cholesky(covariance)
    return found


def test_two_gaussians_give_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 4))
    c1, c2 = a @ a.T + np.eye(4), b @ b.T + np.eye(4)
    m1, m2 = rng.normal(size=(2, 4))
    root = linalg.sqrtm(c1 @ c2).real
    expected = ((m1 - m2) ** 2).sum() + np.trace(c1 + c2 - 2 * root)
    assert frechet(exactly(m1, c1, 200, 1), exactly(m2, c2, 300, 2)) == pytest.approx(expected, rel=1e-8)


def test_samples_of_two_gaussians_give_the_closed_form_and_their_known_bias() -> None:
    # In one dimension it is (m1 - m2)^2 + (s1 - s2)^2. A sample mean adds s^2 / n to the first; a sample deviation of
    # variance s^2 / 2n adds that to the second, to first order.
    rng = np.random.default_rng(5)
    count = 200
    found = [frechet(rng.normal(0, 2, (count, 1)), rng.normal(1, 0.5, (count, 1))) for _ in range(3000)]
    bias = (4 + 0.25) / count + (4 + 0.25) / (2 * count)
    error = np.std(found) / np.sqrt(len(found))
    assert np.mean(found) == pytest.approx(1 + 1.5**2 + bias, abs=4 * error)


def test_it_is_nought_for_the_same_set_and_symmetric() -> None:
    x, y = np.random.default_rng(1).normal(size=(2, 50, 6))
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, y) == pytest.approx(frechet(y, x))


def test_fewer_items_than_dimensions_need_no_regularising() -> None:
    x = np.random.default_rng(2).normal(size=(10, 64))
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, x + 0.5) == pytest.approx(64 * 0.25)


def test_a_floor_at_another_count_would_mislead() -> None:
    """Equal distributions in 32 dimensions: far from nought at 100 items, near it at 5,000."""
    rng = np.random.default_rng(3)
    few, many = (frechet(*rng.normal(size=(2, count, 32)) / np.sqrt(32)) for count in (100, 5000))
    assert few > 20 * many


def test_the_jackknife_covers_the_expectation_where_a_bootstrap_would_not() -> None:
    inside = 0
    rng = np.random.default_rng(4)
    expected = np.mean([frechet(rng.normal(0, 1, (100, 3)), rng.normal(1, 1, (100, 3))) for _ in range(300)])
    for trial in range(60):
        x, y = rng.normal(0, 1, (100, 3)), rng.normal(1, 1, (100, 3))
        low, high = jackknife(frechet(x, y), 100, trial, lambda rows, x=x, y=y: frechet(x[rows], y[rows])) or (0, 0)
        inside += low <= expected <= high
    assert inside >= 50


def test_the_score_has_floor_and_interval() -> None:
    items = digits(500)
    modality = image(items)
    prepared = data(modality, items[:200], items[200:350])
    found = score(context(Sampler(modality, items[350:]), prepared), ["frechet-distance"])["frechet_distance"]
    assert found.floor is not None
    assert found.interval is not None
    assert found.interval[0] < found.value < found.interval[1]
    assert 0.2 < found.value / found.floor < 5
    assert found.protocol["floor_samples"] == found.protocol["samples"] == 150
