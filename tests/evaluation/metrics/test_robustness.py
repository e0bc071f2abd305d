"""Robustness of classifiers whose robustness is known, and detection of what is planted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from miaobi.errors import Diverged, InvalidRecipe, MissingExtra, Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics import resolve
from miaobi.evaluation.metrics._detection import auc, nearest, nearest_texts
from miaobi.evaluation.report import curves
from miaobi.types import Field
from tests.evaluation.readers import linear, reading
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text

QUICK = {"steps": 5, "epsilons": [4.0, 64.0], "epsilon": 16.0}


def pictures(count: int, seed: int = 0, bright: float = 0.5) -> list[np.ndarray]:
    """Grey 8x8 pictures whose mean is bright or dark by as much as is drawn; nothing is near black or white."""
    rng = np.random.default_rng(seed)
    means = 128 + 60 * bright * rng.choice([-1, 1], count) * rng.uniform(0.05, 1, count)
    return [(mean + rng.uniform(-10, 10, (8, 8, 1))).round().astype(np.uint8) for mean in means]


def brightness(items: list[np.ndarray]) -> list[str]:
    return ["bright" if item.mean() > 127.5 else "dark" for item in items]


def measured(options: dict[str, Any] = QUICK, *, count: int = 60, **more: Any) -> Any:
    items = pictures(count)
    said = linear(torch.full((64,), -1 / 64))  # Classes are sorted: bright is the first.
    return score(reading(said, image(items), items, brightness(items), **more), ["robustness"], {"robustness": options})


def test_accuracy_at_each_strength_is_the_closed_form() -> None:
    """The mean of a picture is moved by the radius: who is no further than that from the middle falls."""
    found = measured()
    away = np.abs(np.array([item.mean() for item in pictures(60)]) - 127.5)
    curve = found["robust_accuracy"].protocol["detail"]["curve"]
    assert [point["strength"] for point in curve] == [0, 4, 16, 64]
    assert [point["robust"] for point in curve] == pytest.approx([(away > one).mean() for one in (0, 4, 16, 64)])
    assert found["robust_accuracy"].value == curve[2]["robust"]
    assert found["clean_accuracy"].value == curve[0]["robust"] == 1
    # Noise leaves the mean where it was, but for an eighth of its size.
    assert curve[2]["noise"] == pytest.approx(1, abs=0.1)
    assert found["noise_accuracy"].value == curve[2]["noise"] > found["robust_accuracy"].value
    assert found["robust_accuracy"].protocol["detail"]["noise_beats_attack"] is False
    low, high = found["robust_accuracy"].interval
    assert low < found["robust_accuracy"].value < high
    assert [low, high] == curve[2]["robust_interval"]


def test_scores_do_not_hang_on_the_batch_and_say_how_they_came_about() -> None:
    values = [{name: one.value for name, one in measured(batch_rows=rows).items()} for rows in (1, 7, 64)]
    assert values[0] == pytest.approx(values[1], abs=1e-6)
    assert values[1] == pytest.approx(values[2], abs=1e-6)
    found = measured()
    for one in found.values():
        assert one.protocol["samples"] == 60
        assert one.protocol["options"]["steps"] == 5
        assert "levels of 255" in one.protocol["unit"]
    assert found["detection_auc"].protocol["extractor"] == "pixels"
    brief = measured(brief=True, count=40)
    assert list(brief) == ["robust_accuracy", "clean_accuracy", "noise_accuracy"]


def test_masked_gradients_are_told() -> None:
    """Logits that a step function hides the gradient of, and that noise crosses: the attack looks weak and is not."""
    items = pictures(60, bright=0.05)
    plain = linear(torch.full((64,), -1 / 64))

    def masked(field: Field) -> torch.Tensor:
        spread = (field.values.flatten(1).std(1) > 0.1).float() * 10
        hidden = plain(Field((field.values * 255).round() / 255))
        return hidden + torch.stack([spread, spread * 0], 1) + 0 * field.values.flatten(1).sum(1, keepdim=True)

    found = score(
        reading(masked, image(items), items, ["dark" if index else "bright" for index in range(60)]),
        ["robustness"],
        {"robustness": {**QUICK, "epsilons": [], "epsilon": 16.0}},
    )
    assert found["robust_accuracy"].protocol["detail"]["noise_beats_attack"] is True


def test_planted_perturbations_are_detected_and_none_are_not() -> None:
    """Training and held-out pictures are flat; an attack on a checkerboard of weights makes them chequered."""
    flat = [np.full((8, 8, 1), level, np.uint8) for level in range(100, 160)]
    board = torch.tensor([[(-1.0) ** (row + column) for column in range(8)] for row in range(8)]) / 64
    options = {**QUICK, "training": 60}
    wanted = ["a", "b"] * 30
    seen = score(reading(linear(board), image(flat), flat, wanted), ["robustness"], {"robustness": options})
    assert seen["detection_auc"].value == 1
    assert seen["detection_auc"].interval == (1, 1)
    assert seen["detection_auc"].floor == 0.5
    blind = score(reading(linear(0 * board), image(flat), flat, wanted), ["robustness"], {"robustness": options})
    assert blind["detection_auc"].value == 0.5, "an attack that finds nothing better leaves its items alone"
    assert blind["clean_accuracy"].value == 0, "a tie is nobody's"


def test_texts_fall_to_the_edit_that_they_hang_on() -> None:
    lines = [line for line in sentences(400) if "the" in line.lower()][:20]
    modality = text(lines)
    wanted = ["few" if line.count("e") < 5 else "many" for line in lines]

    def said(field: Field) -> torch.Tensor:
        spelled = [modality.decode(row[:size].numpy()) for row, size in zip(field.values, field.lengths, strict=True)]
        counts = torch.tensor([float(one.count("e")) for one in spelled])
        return torch.stack([4.5 - counts, counts - 4.5], 1)

    options = {"kinds": ["delete"], "tries": 40, "edits": 2, "most_edits": 3, "most": 20}
    found = score(reading(said, modality, lines, wanted), ["robustness"], {"robustness": options})
    curve = found["robust_accuracy"].protocol["detail"]["curve"]
    assert [point["strength"] for point in curve] == [0, 1, 2, 3]
    assert curve[0]["robust"] == 1
    left = np.array([line.count("e") for line in lines])
    # Deleting only lowers the count, inside of words only.
    assert curve[1]["robust"] == pytest.approx((left != 5).mean(), abs=0.1)
    assert curve[2]["robust"] == pytest.approx(((left < 5) | (left > 6)).mean(), abs=0.1)
    assert found["noise_accuracy"].value > found["robust_accuracy"].value
    assert "edited characters" in found["robust_accuracy"].protocol["unit"]
    # Training texts are the clean ones themselves; where there are few no deletion helps, and none is made.
    assert found["detection_auc"].value == pytest.approx(1 - (left < 5).mean() / 2)
    assert found["detection_auc"].floor == 0.5
    other = score(reading(said, modality, lines, wanted), ["robustness"], {"robustness": {**options, "most": 10}})
    assert other["robust_accuracy"].protocol["samples"] == 10


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
@settings(deadline=None)
def test_the_area_is_that_of_scikit_learn(perturbed: list[int], clean: list[int]) -> None:
    truth = [1] * len(perturbed) + [0] * len(clean)
    assert auc(np.array(perturbed), np.array(clean)) == pytest.approx(roc_auc_score(truth, perturbed + clean))


def test_distances_to_the_nearest() -> None:
    assert nearest(np.array([[0.0, 0], [3, 4]]), np.array([[0.0, 0], [10, 0]])).tolist() == [0, 5]
    found = nearest_texts(["moonlight", "xyz", "moonlit"], ["moonlight", "river"])
    assert found == pytest.approx([0, 1, found[2]], abs=1e-9)
    assert 0.1 < found[2] < 0.9


def test_its_curve_can_be_drawn() -> None:
    points = measured()["robust_accuracy"].protocol["detail"]["curve"]
    drawn = curves("Robustness", {"accuracy": [(point["strength"], point["robust"]) for point in points]})
    assert "<svg" in drawn.body


def test_what_cannot_be_measured_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    items = digits(30)
    modality = image(items)
    with pytest.raises(Unsupported, match="Reads"):
        score(context(Sampler(modality, items), data(modality, items[:20], items[20:])), ["robustness"])
    with pytest.raises(InvalidRecipe, match="beyond most_edits"):
        resolve("robustness").metric({"robustness": {"edits": 5, "most_edits": 3}})
    broken = reading(linear(torch.full((64,), torch.nan)), image(pictures(20)), pictures(20), brightness(pictures(20)))
    with pytest.raises(Diverged, match="not finite"):
        score(broken, ["robustness"])


def test_missing_features_are_told_before_any_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise MissingExtra("features", "features")

    monkeypatch.setattr("miaobi.evaluation.extractors.choose", absent)
    items = pictures(20)

    def never(field: Field) -> torch.Tensor:
        raise AssertionError

    with pytest.raises(MissingExtra):
        score(reading(never, image(items), items, brightness(items)), ["robustness"])
