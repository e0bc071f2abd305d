"""Motion: known statistics, real clips beside their controls, and a clear refusal of what does not move."""

from __future__ import annotations

import numpy as np
import pytest

from miaobi.data import prepare
from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.extractors.clip_pixels import ClipPixels
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from miaobi.evaluation.metrics.motion import Motion, distance, frozen, shuffled, statistics
from miaobi.recipe import Recipe
from tests.evaluation.clips import controls, drifting, video
from tests.evaluation.stand_ins import Sampler, context, data, digits, image


def test_statistics_of_known_motion() -> None:
    ramp = np.zeros((5, 2, 2, 1), np.uint8) + (np.arange(5, dtype=np.uint8) * 10)[:, None, None, None]
    jump = np.zeros((5, 2, 2, 1), np.uint8)
    jump[1::2] = 10
    assert statistics([ramp, jump, ramp[:2], ramp[:1]]).tolist() == [[10, 20, 0], [10, 0, 20], [10, 0, 0], [0, 0, 0]]
    assert distance(statistics([ramp]), statistics([ramp])) == 0
    assert distance(statistics([jump]), statistics([ramp])) == pytest.approx(40 / 3)
    falling = np.ascontiguousarray(ramp[::-1])
    assert statistics([falling]).tolist() == statistics([ramp]).tolist()


def test_controls_keep_the_frames_and_follow_the_seed() -> None:
    clip = drifting(1)[0]
    assert (frozen(clip) == clip[0]).all()
    mixed = shuffled(clip, 3, 1)
    assert np.array_equal(mixed, shuffled(clip, 3, 1))
    assert not np.array_equal(mixed, shuffled(clip, 4, 1))
    assert sorted(frame.tobytes() for frame in mixed) == sorted(frame.tobytes() for frame in clip)


def test_what_does_not_move_is_as_far_as_the_rest_moves() -> None:
    """From a distribution at nought, the first Wasserstein distance is the mean."""
    real = drifting(40, 1)
    still = statistics([frozen(clip) for clip in real])
    assert not still.any()
    assert distance(still, statistics(real)) == pytest.approx(statistics(real).mean())


def scored(pool: list[np.ndarray]) -> dict[str, float]:
    held = drifting(100, 1)
    modality = video(held)
    found = score(context(Sampler(modality, pool), data(modality, drifting(100, 2), held)), ["motion"])
    assert found["motion_distance"].interval is not None
    assert found["motion_distance"].floor is not None
    return {name: one.value for name, one in found.items()} | {"floor": float(found["motion_distance"].floor)}


def test_the_right_motion_scores_like_the_floor_and_wrong_motion_like_its_control() -> None:
    right = scored(drifting(100, 3))
    assert right["motion_distance"] < 3 * right["floor"] + 0.2
    assert right["motion_distance"] < 0.3 * min(right["motion_frozen"], right["motion_shuffled"])
    wrong = controls(drifting(100, 3))
    assert scored(wrong["frozen"])["motion_distance"] == pytest.approx(right["motion_frozen"], rel=0.1)
    assert scored(wrong["shuffled"])["motion_distance"] == pytest.approx(right["motion_shuffled"], rel=0.2)
    assert scored(drifting(100, 3, speed=2))["motion_distance"] > 3 * right["motion_distance"]


def test_a_brief_look_is_the_distance_alone() -> None:
    held = drifting(10, 1)
    modality = video(held)
    found = score(context(Sampler(modality, held), data(modality, held, held), brief=True), ["motion"])
    assert list(found) == ["motion_distance"]
    assert found["motion_distance"].floor is None


def test_pictures_are_refused() -> None:
    modality = image(digits(4))
    with pytest.raises(Unsupported, match="motion is of video"):
        Motion.check(Sampler(modality, digits(4)), modality)


@pytest.mark.registry
def test_of_the_catalogs_clips_real_ones_score_better_than_frozen_and_shuffled_ones() -> None:
    section = {"source": "catalog:clips", "condition": {"label": "label"}, "split": {"by": "given"}}
    modality = {"name": "video", "frames": 8, "rate": 12.5, "size": 32}
    prepared = prepare(Recipe.load({"modality": modality, "data": section, "model": {"family": "gan"}}))
    made = prepared.modality
    held = [
        made.decode(made.encode(item))
        for part in (prepared.validation, prepared.test)
        for item in part.items(range(len(part)))
    ]
    # Every other held-out clip against the rest: how much moves differs more between stretches than within one.
    reference, real = held[::2], held[1::2]
    features = ClipPixels()
    moments, kernel = statistics(reference), motion_of(features(reference))
    real_distance = distance(statistics(real), moments)
    real_kernel = polynomial_mmd(motion_of(features(real)), kernel)
    for clips in controls(real).values():
        assert distance(statistics(clips), moments) > 3 * real_distance
        assert polynomial_mmd(motion_of(features(clips)), kernel) > real_kernel + 0.1


def motion_of(features: np.ndarray) -> np.ndarray:
    """The part of the features that is of frame differences."""
    return features[:, features.shape[1] * 2 // 3 :]
