"""Density and coverage: their expectation under equality, which is known, the definition, and the paper's cases."""

from __future__ import annotations

import numpy as np
import pytest

from miaobi.errors import DataError
from miaobi.evaluation import Direction, score
from miaobi.evaluation.metrics.density_coverage import among, expected
from miaobi.evaluation.metrics.precision_recall import covered
from tests.evaluation.stand_ins import Sampler, context, data, digits, image


def by_definition(fake: np.ndarray, real: np.ndarray, k: int) -> tuple[float, float]:
    """As the paper defines them, pair by pair."""
    apart = [[float(np.linalg.norm(a - b)) for b in real] for a in real]
    radii = [sorted(row)[k] for row in apart]
    inside = [[np.linalg.norm(y - x) <= radius for x, radius in zip(real, radii, strict=True)] for y in fake]
    return sum(map(sum, inside)) / (k * len(fake)), sum(any(column) for column in zip(*inside, strict=True)) / len(real)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_it_is_the_definition(k: int) -> None:
    rng = np.random.default_rng(k)
    fake, real = rng.normal(size=(17, 3)), rng.normal(0.3, 1.2, size=(23, 3))
    found = among(fake, real, k)
    assert (found.density.mean(), found.covered.mean()) == pytest.approx(by_definition(fake, real, k))


@pytest.mark.parametrize(("real", "fake", "k", "dimensions"), [(60, 60, 5, 2), (60, 60, 3, 16), (50, 90, 2, 4)])
def test_equal_distributions_give_their_known_expectation(real: int, fake: int, k: int, dimensions: int) -> None:
    rng = np.random.default_rng(0)
    found = [among(rng.normal(size=(fake, dimensions)), rng.normal(size=(real, dimensions)), k) for _ in range(200)]
    for values, truth in (
        ([one.density.mean() for one in found], 1.0),
        ([one.covered.mean() for one in found], expected(real, fake, k)),
    ):
        assert np.mean(values) == pytest.approx(truth, abs=4 * np.std(values) / np.sqrt(len(values)))


def test_the_expectation_of_many_items_is_that_of_the_paper() -> None:
    assert expected(10**8, 10**8, 5) == pytest.approx(1 - 2**-5)
    assert expected(3, 2, 2) == pytest.approx(1 - (2 / 4) * (1 / 3))


def test_an_outlier_among_real_items_inflates_precision_more_than_density() -> None:
    rng = np.random.default_rng(1)
    real = np.concatenate([rng.normal(size=(200, 2)), np.full((1, 2), 40.0)])
    astray = rng.uniform(15, 40, size=(200, 2))
    assert covered(astray, real, 3).mean() > 0.9
    assert among(astray, real, 3).density.mean() < 0.5


def test_an_outlier_among_generated_items_inflates_recall_and_not_coverage() -> None:
    rng = np.random.default_rng(2)
    real, collapsed = rng.normal(size=(200, 2)), rng.normal(6, 0.01, size=(198, 2))
    fake = np.concatenate([collapsed, [[-40.0, -40.0], [40.0, 40.0]]])
    assert covered(real, fake, 3).mean() > 0.9
    assert among(fake, real, 3).covered.mean() < 0.05


def test_disjoint_sets_have_none_and_equal_ones_all() -> None:
    x = np.random.default_rng(3).normal(size=(40, 5))
    apart = among(x + 1000, x, 5)
    assert (apart.density.sum(), apart.covered.sum()) == (0, 0)
    # Each item lies in its own neighbourhood and in those that it is one of the k nearest of, k on average.
    assert among(x, x, 5).covered.all()
    assert among(x, x, 5).density.mean() == pytest.approx(6 / 5, abs=0.1)


def test_one_typical_item_again_and_again_is_dense_and_covers_little() -> None:
    real = np.random.default_rng(4).normal(size=(300, 2))
    found = among(np.zeros((300, 2)), real, 5)
    assert found.density.mean() > 1
    assert found.covered.mean() < 0.1


def test_scores_of_real_images_are_near_their_floor_and_their_expectation() -> None:
    # Writers come one after another in the data: only mixed are its parts of one distribution.
    every = digits(900)
    items = [every[i] for i in np.random.default_rng(5).permutation(900)]
    modality = image(items)
    order = iter(range(300))
    family = Sampler(modality, items[600:], lambda seeds: seeds.new_tensor([next(order) for _ in seeds]))
    found = score(context(family, data(modality, items[:300], items[300:600])), ["density_coverage"])
    detail = found["coverage"].protocol["detail"]
    assert detail == {"neighbours": 5, "expected": expected(300, 300, 5)}
    for figure in found.values():
        assert figure.floor == pytest.approx(figure.value, abs=0.15)
        assert figure.interval[0] < figure.value < figure.interval[1]
        assert len(figure.protocol["extractor_hash"]) == 16
    assert found["coverage"].value == pytest.approx(detail["expected"], abs=0.1)
    assert Direction(found["density"].protocol["direction"]) is Direction.NEITHER


def test_no_more_items_than_neighbours_is_refused() -> None:
    with pytest.raises(DataError, match="more than 5 items"):
        among(np.zeros((9, 2)), np.zeros((5, 2)), 5)
