"""The controls of video are where they must be: far where clips move, at the floor where they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.extractors.clip_pixels import ClipPixels
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from miaobi.evaluation.metrics.motion import frozen
from tests.evaluation.clips import controls, drifting, video
from tests.evaluation.stand_ins import Sampler, context, data, digits, image

HELD, TRAIN = drifting(100, 1), drifting(100, 2)


def scored(samples: list[np.ndarray], held: list[np.ndarray] = HELD, train: list[np.ndarray] = TRAIN) -> Any:
    modality = video(held)
    prepared = data(modality, train, held)
    family = Sampler(modality, samples)
    return score(context(family, prepared, extractor="clip_pixels"), ["motion_controls", "kernel_distance"])


def test_the_figures_are_the_distances_of_training_clips_made_wrong() -> None:
    found = scored(drifting(100, 3))
    real = ClipPixels()(HELD)
    wrong = {f"{name}_kernel_distance": ClipPixels()(clips) for name, clips in controls(TRAIN).items()}
    assert {name: found[name].value for name in wrong} == pytest.approx(
        {name: polynomial_mmd(real, features) for name, features in wrong.items()}, rel=1e-4
    )
    for name in wrong:
        assert found[name].floor == pytest.approx(found["kernel_distance"].floor)
        assert found[name].interval[0] < found[name].value < found[name].interval[1]
        assert found[name].protocol["extractor"] == "clip_pixels"
        assert found[name].value > 5 * abs(found["kernel_distance"].value), "the model's clips move as they should"


def test_a_model_that_does_not_move_scores_like_its_control() -> None:
    found = scored([frozen(clip) for clip in drifting(100, 3)])
    assert found["kernel_distance"].value == pytest.approx(found["frozen_kernel_distance"].value, rel=0.2)


def test_clips_that_never_move_have_nothing_to_lose() -> None:
    still = [frozen(clip) for clip in HELD]
    found = scored(still, still, [frozen(clip) for clip in TRAIN])
    for name in ("frozen_kernel_distance", "shuffled_kernel_distance"):
        assert found[name].value == pytest.approx(found[name].floor)


def test_a_brief_look_leaves_them_out_and_pictures_are_refused() -> None:
    modality = video(HELD)
    brief = context(Sampler(modality, HELD), data(modality, TRAIN, HELD), extractor="clip_pixels", brief=True)
    assert score(brief, ["motion_controls"]) == {}
    items = digits(4)
    with pytest.raises(Unsupported, match="is of video"):
        score(context(Sampler(image(items), items), data(image(items), items, items)), ["motion_controls"])
