"""Kernel distance: unbiased, and what the definition gives."""

from __future__ import annotations

import numpy as np
import pytest

from miaobi.errors import DataError
from miaobi.evaluation import score
from miaobi.evaluation.metrics._intervals import blocks
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from tests.evaluation.stand_ins import Sampler, context, data, digits, image


def test_it_is_the_definition() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(1, 1, size=(5, 3)).astype(np.float32)

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a.astype(np.float64) @ b) / 3 + 1) ** 3

    xx = np.mean([kernel(x[i], x[j]) for i in range(7) for j in range(7) if i != j])
    yy = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert polynomial_mmd(x, y) == pytest.approx(xx + yy - 2 * xy)


def test_blocks_of_rows_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 4)).astype(np.float32), rng.normal(size=(40, 4)).astype(np.float32)
    whole = polynomial_mmd(x, y)
    monkeypatch.setattr("miaobi.evaluation.metrics.kernel_distance._ROWS", 7)
    assert polynomial_mmd(x, y) == pytest.approx(whole)


def test_equal_distributions_average_to_nought() -> None:
    rng = np.random.default_rng(2)
    values = [polynomial_mmd(*rng.normal(size=(2, 40, 8)).astype(np.float32)) for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_two_gaussians_apart_give_the_closed_form() -> None:
    # E k(x, y) of independent x, y in one dimension with means a, b and unit variance: E(xy + 1)^3 by moments.
    def expected(a: float, b: float) -> float:
        first, second, third = a * b, (a * a + 1) * (b * b + 1), (a**3 + 3 * a) * (b**3 + 3 * b)
        return third + 3 * second + 3 * first + 1

    truth = expected(0, 0) + expected(1, 1) - 2 * expected(0, 1)
    rng = np.random.default_rng(3)
    values = [
        polynomial_mmd(
            rng.normal(0, 1, (400, 1)).astype(np.float32),
            rng.normal(1, 1, (400, 1)).astype(np.float32),
        )
        for _ in range(60)
    ]
    assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / np.sqrt(60))


def test_real_samples_score_within_their_floor_and_noise_does_not() -> None:
    items = digits(900)
    modality = image(items)
    prepared = data(modality, items[:400], items[400:700])
    real = score(context(Sampler(modality, items[700:]), prepared), ["kernel_distance"])["kernel_distance"]
    assert real.interval is not None
    assert real.floor is not None
    assert real.interval[0] < max(real.floor, 0.02)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, items[0].shape, dtype=np.uint8) for _ in range(100)]
    far = score(context(Sampler(modality, noise), prepared), ["kernel_distance"])["kernel_distance"]
    assert far.value > 20 * abs(real.value)
    assert far.protocol["extractor"] == "pixels"
    assert len(far.protocol["extractor_hash"]) == 16
    assert far.protocol["samples"] == 300
    assert far.protocol["requested"] == 1000


def test_two_halves_of_one_set_are_within_their_floor() -> None:
    rng = np.random.default_rng(4)
    every = digits(1200)
    items = [every[i] for i in rng.permutation(1200)]
    modality = image(items)
    order = iter(range(400))
    family = Sampler(modality, items[800:], lambda seeds: seeds.new_tensor([next(order) for _ in seeds]))
    found = score(context(family, data(modality, items[:400], items[400:800])), ["kernel_distance"])["kernel_distance"]
    low, high = found.interval
    assert low <= 0 <= high
    assert low <= found.floor <= high
    assert found.protocol["floor_samples"] == found.protocol["samples"] == 400


def test_one_item_a_side_is_refused() -> None:
    with pytest.raises(DataError, match="at least two"):
        polynomial_mmd(np.zeros((1, 2), np.float32), np.zeros((5, 2), np.float32))


def test_blocks_are_disjoint_and_fixed_by_the_seed() -> None:
    found = blocks(205, 1)
    assert len(np.unique(np.concatenate(found))) == 200
    assert all(np.array_equal(a, b) for a, b in zip(found, blocks(205, 1), strict=True))
    assert not np.array_equal(found[0], blocks(205, 2)[0])
    assert blocks(99, 1) == []
