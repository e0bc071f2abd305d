"""The machine judge: fair where there is no difference, sharp where there is one, and called a machine."""

from __future__ import annotations

import time

import numpy as np
import pytest

from miaobi.errors import DataError
from miaobi.evaluation import score
from miaobi.evaluation.metrics.two_sample import Judged, TwoSample, gaussian, judge
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text


def judged(left: np.ndarray, right: np.ndarray, *, seed: int = 0, permutations: int = 99) -> Judged:
    features = np.concatenate([left, right])
    return judge(gaussian(features), len(left), folds=5, permutations=permutations, seed=seed)


def test_equal_distributions_give_uniform_p_and_accuracy_near_one_half() -> None:
    rng = np.random.default_rng(0)
    found = [judged(*rng.normal(size=(2, 30, 4)), seed=seed) for seed in range(200)]
    ps, accuracies = np.array([one.p for one in found]), np.array([one.accuracy for one in found])
    assert abs(accuracies.mean() - 0.5) < 0.02
    for level in (0.05, 0.25, 0.5, 0.75):
        assert (ps <= level).mean() == pytest.approx(level, abs=0.1)


def test_pairs_that_belong_together_do_not_fool_it() -> None:
    # A sample like its held-out item, and no two pairs alike: without whole pairs in folds the other side gives away.
    rng = np.random.default_rng(0)
    found = []
    for seed in range(40):
        base = rng.normal(size=(40, 2))
        found.append(judged(*(base + 0.05 * rng.normal(size=(2, 40, 2))), seed=seed))
    assert np.mean([one.accuracy for one in found]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([one.p <= 0.05 for one in found]) <= 0.2


@pytest.mark.parametrize("change", [lambda x: x + 1.0, lambda x: 0.4 * x])
def test_a_shift_and_a_lack_of_spread_are_found(change: object) -> None:
    left, right = np.random.default_rng(1).normal(size=(2, 200, 6))
    found = judged(left, change(right))  # type: ignore[operator]
    assert found.accuracy > 0.7
    assert found.p == 0.01, "the least that 99 exchanges can give"


def test_two_gaussians_are_told_apart_as_well_as_can_be() -> None:
    left, right = np.random.default_rng(2).normal(size=(2, 400, 1))
    # Of means two apart with unit variance the best classifier is right with probability Phi(1) = 0.841.
    assert judged(left, right + 2).accuracy == pytest.approx(0.841, abs=0.03)


def test_sides_apart_are_always_told_apart() -> None:
    left, right = np.random.default_rng(5).normal(size=(2, 50, 3))
    assert judged(left, right + 20) == Judged(1.0, 0.01)


def test_training_anew_is_what_the_product_does() -> None:
    left, right = np.random.default_rng(3).normal(size=(2, 20, 3))
    again = judged(right, left, permutations=19)
    assert judged(left, right, permutations=19).accuracy == pytest.approx(again.accuracy), "sides have no names"


def test_nothing_to_see_is_one_half() -> None:
    assert judged(np.ones((20, 2)), np.ones((20, 2))) == Judged(0.5, 1.0)


def test_few_pairs_are_refused() -> None:
    with pytest.raises(DataError, match="at least 2 pairs for each of 5 folds"):
        judged(np.ones((9, 1)), np.ones((9, 1)))


def test_a_thousand_pairs_take_seconds() -> None:
    left, right = np.random.default_rng(4).normal(size=(2, 1000, 64))
    began = time.process_time()
    judged(left, right, permutations=999)
    assert time.process_time() - began < 20


def test_samples_like_real_ones_are_not_told_apart_and_noise_is() -> None:
    items = digits(900)
    modality = image(items)
    prepared = data(modality, items[:400], items[400:700])
    real = score(context(Sampler(modality, items[700:]), prepared, count=100), ["two_sample"])
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, items[0].shape, dtype=np.uint8) for _ in range(100)]
    far = score(context(Sampler(modality, noise), prepared, count=100), ["two_sample"])
    accuracy = far["machine_judge_accuracy"]
    assert accuracy.value > 0.95
    assert accuracy.interval is not None
    assert accuracy.interval[0] > 0.9
    assert real["machine_judge_accuracy"].value < 0.75
    assert accuracy.floor is not None
    assert accuracy.floor < 0.65
    assert far["machine_judge_p"].value == 0.001
    assert far["machine_judge_length_accuracy"].value == 0.5, "all pictures are of one size"


def test_texts_of_another_kind_are_found_and_so_is_length() -> None:
    # They come sorted, and the judge sees that at once: dealt out in turn, the parts are alike.
    lines = sentences(900)
    training, held, others = lines[::3], lines[1::9], lines[2::3]
    modality = text(lines)
    prepared = data(modality, training, held)
    plain = score(context(Sampler(modality, others), prepared), ["two_sample"])
    assert plain["machine_judge_accuracy"].value < 0.7
    shorter = [line[: len(line) // 2] for line in others]
    short = score(context(Sampler(modality, shorter), prepared), ["two_sample"])
    assert short["machine_judge_length_accuracy"].value > 0.9
    reversed_ = [line[::-1] for line in others]
    backwards = score(context(Sampler(modality, reversed_), prepared), ["two_sample"])
    assert backwards["machine_judge_accuracy"].value > 0.85
    assert backwards["machine_judge_length_accuracy"].value < 0.65


def test_it_is_called_a_machine_wherever_it_is_named() -> None:
    assert all(figure.startswith("machine_judge") for figure in TwoSample.figures)
    items = digits(100)
    modality = image(items)
    found = score(context(Sampler(modality, items), data(modality, items[:40], items[40:80])), ["two_sample"])
    for figure, one in found.items():
        assert "machine judge, not people" in one.protocol["detail"]["judge"], figure
        assert one.protocol["detail"]["permutations"] == 999
        assert "scikit-learn" in one.protocol["versions"]
        assert (one.interval is None) == one.protocol["interval_method"].startswith("none")
