"""The judge that is attacked is the machine judge, and it falls where it hangs on what can be changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.errors import DataError, InvalidRecipe, Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics import resolve, two_sample
from miaobi.evaluation.metrics._fooling import attacked, noisy, trained
from miaobi.evaluation.metrics.two_sample import gaussian
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text


def grey(count: int, level: int, seed: int, spread: int = 3) -> list[np.ndarray]:
    """Pictures of one grey each, with a little noise."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(level - spread, level + spread + 1, (count, 1, 1, 1))
    return list((levels + rng.integers(-1, 2, (count, 8, 8, 1))).astype(np.uint8))


def measured(pool: list[np.ndarray], held: list[np.ndarray], options: Any = None, **more: Any) -> Any:
    modality = image(held)
    prepared = data(modality, held, held)
    family = Sampler(modality, pool, lambda seeds: torch.arange(len(seeds)) % len(pool))
    chosen = context(family, prepared, **more)
    return score(chosen, ["judge_robustness"], {"judge_robustness": options or {"queries": 40}})


def test_the_judge_is_that_of_the_two_sample_test() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40, 5)) + np.repeat([0.0, 1.0], 20)[:, None]
    labels = np.repeat([1.0, -1.0], 20)
    train, test = np.arange(0, 40, 2), np.arange(1, 40, 2)
    similar = gaussian(features)(train)
    weights = np.linalg.solve(similar[np.ix_(train, train)] + two_sample.RIDGE * np.eye(20), labels[train])
    expected = similar[np.ix_(test, train)] @ weights
    judge = trained(features[train], labels[train], two_sample.RIDGE)
    np.testing.assert_allclose(judge(features[test]), expected, atol=1e-9)


@given(st.integers(0, 40), st.integers(1, 6), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_changes_stay_inside_the_ball_and_never_lower_the_score(radius: int, queries: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    items = list(rng.integers(0, 256, (3, 6, 5, 2), dtype=np.uint8))

    def brightness(tried: list[np.ndarray]) -> np.ndarray:
        return np.array([item.mean() for item in tried])

    found = attacked(items, brightness, radius, queries, seed)
    for made in (found, noisy(items, radius, seed)):
        for one, other in zip(made, items, strict=True):
            assert one.dtype == np.uint8
            assert np.abs(one.astype(int) - other).max() <= radius
    assert (brightness(found) >= brightness(items)).all()
    if radius == 0:
        assert all(np.array_equal(one, other) for one, other in zip(found, items, strict=True))


def test_a_difference_of_a_few_levels_is_made_up_for_by_as_many() -> None:
    found = measured(grey(60, 112, 1), grey(60, 128, 2), {"epsilon": 16, "epsilons": [2], "queries": 60})
    curve = found["judge_fooled"].protocol["detail"]["curve"]
    assert [point["strength"] for point in curve] == [0, 2, 16]
    assert found["judge_fooled"].floor == curve[0]["fooled"] < 0.1, "unchanged, they are told apart"
    assert curve[1]["fooled"] < 0.2
    assert found["judge_fooled"].value == curve[2]["fooled"] > 0.9
    assert found["judge_noise_fooled"].value < 0.2, "noise leaves the grey where it was"
    low, high = found["judge_fooled"].interval
    assert low < found["judge_fooled"].value <= high + 1e-9
    assert "machine judge, not people" in found["judge_fooled"].protocol["detail"]["judge"]
    assert found["judge_fooled"].protocol["extractor"] == "pixels"


def test_the_share_never_falls_with_strength_and_follows_the_seed() -> None:
    held = digits(200)
    pool = [255 - item for item in digits(200)]
    options = {"epsilon": 8, "epsilons": [2, 32, 64], "queries": 10, "most": 60}
    first, again = (measured(pool, held, options) for _ in range(2))
    shares = [point["fooled"] for point in first["judge_fooled"].protocol["detail"]["curve"]]
    assert shares == sorted(shares)
    assert first["judge_fooled"].value == again["judge_fooled"].value


def test_what_cannot_be_judged_is_refused() -> None:
    lines = sentences(30)
    words = text(lines)
    with pytest.raises(Unsupported, match="does not apply to text"):
        score(context(Sampler(words, lines), data(words, lines[:20], lines[20:])), ["judge_robustness"])
    with pytest.raises(DataError, match="at least eight pairs"):
        measured(digits(4), digits(4))
    with pytest.raises(InvalidRecipe, match="epsilon"):
        resolve("judge_robustness").metric({"judge_robustness": {"epsilon": 300}})
