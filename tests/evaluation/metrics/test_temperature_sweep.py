"""The curve is sacrebleu's at each temperature, and its figures are those read off by hand."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from sacrebleu.metrics.bleu import BLEU

from miaobi.errors import DataError, InvalidRecipe, Unsupported
from miaobi.evaluation import check, score
from miaobi.evaluation.metrics.temperature_sweep import Curve, distance
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text

LINES = random.Random(0).sample(sentences(400), 180)
TRAIN, HELD, MORE = LINES[:60], LINES[60:120], LINES[120:]
TEMPERATURES = [0.1, 0.4, 1.0, 2.0]


NOISE = ["".join(random.Random(i).choices("qxzjkv wpbf", k=50)) for i in range(60)]


class Warm(Sampler):
    """Repeats a few lines in the cold, gives different ones at temperature 1, and different letters above."""

    class Controls(Sampler.Controls):
        temperature: float = 1.0
        other: int = 3

    def __init__(self, modality: Any, pool: list[str]) -> None:
        super().__init__(modality, [*pool, *NOISE])

    def sample(self, conditions: Any, *, controls: Any = None, **options: Any) -> Any:
        assert controls.other == 7
        hot, kinds = controls.temperature > 1, max(1, round(60 * controls.temperature))
        self.pick = lambda seeds: torch.arange(len(seeds)) % min(kinds, 60) + 60 * hot
        return super().sample(conditions, **options)


def measured(options: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    modality = text([*LINES, *NOISE])
    made = context(Warm(modality, MORE), data(modality, TRAIN, HELD), controls={"other": 7}, **more)
    return score(made, ["temperature_sweep"], {"temperature_sweep": {"temperatures": TEMPERATURES, **(options or {})}})


def test_each_point_is_sacrebleus_own() -> None:
    modality = text([*LINES, *NOISE])
    found = measured()["curve_gap"].protocol
    curve = found["detail"]["curve"]
    assert [row["temperature"] for row in curve] == TEMPERATURES
    bleu = BLEU(effective_order=True)
    for place, temperature in enumerate(TEMPERATURES):
        one = context(
            Warm(modality, MORE), data(modality, TRAIN, HELD), controls={"other": 7, "temperature": temperature}
        )
        made = one.generated_items
        quality = [bleu.sentence_score(line, HELD).score for line in made]
        own = [bleu.sentence_score(line, made[:i] + made[i + 1 :]).score for i, line in enumerate(made)]
        assert curve[place]["bleu"] == pytest.approx(np.mean(quality))
        assert curve[place]["self_bleu"] == pytest.approx(np.mean(own))
    sameness = [row["self_bleu"] for row in curve]
    assert sameness == sorted(sameness, reverse=True)
    assert found["detail"]["training_bleu"] == pytest.approx(
        np.mean([bleu.sentence_score(line, HELD).score for line in TRAIN])
    )
    assert found["samples"] == found["floor_samples"] == 60
    assert "tok:13a" in found["signature"]


def test_figures_are_read_off_the_curve_by_hand() -> None:
    # Self-BLEU 40, 20, 10 and BLEU 30, 20, 10 at temperatures 1, 2, 4; real data at 15 and 18.
    curve = Curve(
        np.array([1.0, 2.0, 4.0]),
        np.array([[20.0, 40], [10, 30], [5, 15]]),
        np.array([[30.0, 50], [20, 20], [10, 10]]),
    )
    found = curve.figures((15.0, 18.0))
    assert found["bleu_at_real_variety"] == pytest.approx(15)
    assert found["real_variety_temperature"] == pytest.approx(3)
    # From (15, 18) to the line through (10, 10) and (20, 20).
    assert found["curve_gap"] == pytest.approx(3 / 2**0.5)
    beyond = curve.figures((60.0, 18.0))
    assert np.isnan(beyond["bleu_at_real_variety"])
    assert beyond["curve_gap"] == pytest.approx((20**2 + 12**2) ** 0.5)


def test_the_distance_is_from_the_line_and_not_from_its_corners_only() -> None:
    points = np.array([[0.0, 0], [10, 0], [10, 10]])
    assert distance(points, np.array([5.0, 2])) == 2
    assert distance(points, np.array([14.0, 13])) == 5
    assert distance(np.zeros((2, 2)), np.array([3.0, 4])) == 5


def test_scores_have_intervals_and_what_real_data_reaches() -> None:
    found = measured()
    assert list(found) == ["bleu_at_real_variety", "real_variety_temperature", "curve_gap"]
    assert found["bleu_at_real_variety"].floor == found["curve_gap"].protocol["detail"]["training_bleu"]
    assert 0.4 < found["real_variety_temperature"].value < 2
    for one in found.values():
        assert one.interval[0] <= one.value <= one.interval[1]
    assert found["curve_gap"].floor == 0


def test_a_curve_that_does_not_get_there_has_no_such_figure() -> None:
    found = measured({"temperatures": [0.01, 0.02]})
    assert list(found) == ["curve_gap"]
    modality = text([*LINES, *NOISE])
    made = context(Warm(modality, MORE), data(modality, TRAIN, HELD), controls={"other": 7})
    options = {"temperature_sweep": {"temperatures": [0.01, 0.02]}}
    with pytest.raises(Unsupported, match="bleu_at_real_variety"):
        score(made, ["temperature_sweep.bleu_at_real_variety"], options)


def test_a_brief_look_is_of_fewer_samples_and_has_no_floor() -> None:
    found = measured({"samples": 20}, brief=True)["curve_gap"]
    assert (found.floor, found.interval, found.protocol["samples"]) == (None, None, 20)


def test_what_cannot_be_swept_is_refused() -> None:
    modality = text([*LINES, *NOISE])
    with pytest.raises(Unsupported, match="changes the temperature"):
        check(["temperature_sweep"], Sampler(modality, LINES), modality)
    for wrong in ([0.5], [0, 1], [1, 0.5], [1, 1]):
        with pytest.raises(InvalidRecipe, match="temperatures"):
            measured({"temperatures": wrong})
    with pytest.raises(DataError, match="at least two"):
        measured(count=1)
