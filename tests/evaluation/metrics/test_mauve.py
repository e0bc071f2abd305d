"""MAUVE is mauve-text's own, orders known corruptions, and says how sure it is."""

from __future__ import annotations

import random
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from miaobi.errors import DataError, MissingExtra
from miaobi.evaluation import check, score
from miaobi.evaluation.extractors import create
from miaobi.evaluation.metrics import mauve as module
from miaobi.evaluation.records import Score
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text

installed = pytest.mark.skipif(find_spec("mauve") is None, reason="needs miaobi[mauve]")
# Mixed, so that the parts are of one distribution.
LINES = random.Random(0).sample(sentences(700), 600)
TRAIN, HELD, MORE = LINES[:200], LINES[200:400], LINES[400:]


def measured(pool: list[str], options: dict[str, Any] | None = None, **more: Any) -> Score:
    modality = text(LINES)
    order = iter(range(10**6))
    family = Sampler(modality, pool, pick=lambda seeds: seeds.new_tensor([next(order) % len(pool) for _ in seeds]))
    made = context(family, data(modality, TRAIN, HELD), extractor="character_ngrams", **more)
    return score(made, ["mauve"], {"mauve": {"clusterings": 2, **(options or {})}})["mauve"]


def corrupted(lines: list[str], share: float) -> list[str]:
    """Lines in which so many letters are others."""
    draw = random.Random(1)
    return ["".join(draw.choice("qxzjkv") if draw.random() < share else letter for letter in line) for line in lines]


@installed
def test_it_is_the_librarys_own_on_the_named_features() -> None:
    from mauve import compute_mauve

    found = measured(MORE, {"clusterings": 3, "scaling": 4, "buckets": 12})
    extractor = create("character_ngrams")
    own = [
        compute_mauve(extractor(MORE), extractor(HELD), num_buckets=12, mauve_scaling_factor=4, seed=seed).mauve
        for seed in range(3)
    ]
    assert found.value == pytest.approx(np.mean(own))
    assert found.protocol["extractor"] == "character_ngrams"
    assert found.protocol["detail"] == {"buckets": 12, "clustering_seeds": [0, 1, 2]}
    assert {"mauve-text", "faiss-cpu"} <= found.protocol["versions"].keys()


@installed
def test_equal_sets_are_one_and_disjoint_ones_near_nought() -> None:
    assert measured(HELD).value == pytest.approx(1, abs=1e-6)
    assert measured(["白日依山尽，黄河入海流。", "欲穷千里目，更上一层楼。"]).value < 0.02


@installed
def test_three_degrees_of_corruption_are_told_in_order_and_training_lines_score_the_floor(
    capfd: pytest.CaptureFixture[str],
) -> None:
    whole, *worse = (measured(corrupted(MORE, share)) for share in (0, 0.05, 0.15, 0.5))
    values = [one.value for one in worse]
    assert values == sorted(values, reverse=True)
    assert whole.value > values[0] > 2 * values[2]
    assert whole.interval is not None
    assert whole.interval[0] < whole.value <= whole.interval[1] <= 1
    assert measured(TRAIN).value == pytest.approx(measured(TRAIN).floor)
    assert "clustering" not in capfd.readouterr().err


@installed
def test_the_area_of_histograms_is_the_librarys_and_its_variance_that_of_resampled_counts() -> None:
    from mauve import compute_mauve

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(100, 2)), rng.normal(0.5, 1, size=(100, 2))
    own = compute_mauve(x, y, num_buckets=8, seed=1)
    assert module.area(own.p_hist, own.q_hist, 5.0) == pytest.approx(own.mauve)

    p, q = np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.1, 0.3, 0.3, 0.3])
    drawn = [module.area(rng.multinomial(300, p) / 300, rng.multinomial(300, q) / 300, 5.0) for _ in range(800)]
    estimates = [
        module.variance(rng.multinomial(300, p) / 300, rng.multinomial(300, q) / 300, 300, 5.0) for _ in range(50)
    ]
    assert np.mean(estimates) == pytest.approx(np.var(drawn), rel=0.2)


@installed
def test_a_brief_look_has_no_floor_and_too_few_samples_are_refused() -> None:
    brief = measured(MORE, {"clusterings": 1}, brief=True, count=60)
    assert brief.floor is None
    assert brief.interval is None
    with pytest.raises(DataError, match="at least 20"):
        measured(MORE, count=19)
    with pytest.raises(DataError, match="its 150 buckets"):
        measured(MORE, {"buckets": 150}, count=149)


def test_without_the_packages_it_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    modality = text(LINES[:9])
    with pytest.raises(MissingExtra, match=r"miaobi\[mauve\]"):
        check(["mauve"], Sampler(modality, LINES[:9]), modality)
