"""Features of clips see appearance and motion, and tell frozen and shuffled clips from moving ones."""

from __future__ import annotations

import numpy as np
import pytest

from miaobi.evaluation.extractors.clip_pixels import ClipPixels
from miaobi.evaluation.metrics.kernel_distance import polynomial_mmd
from tests.evaluation.clips import controls, drifting


def test_a_batch_equals_its_items_and_has_the_promised_size() -> None:
    items = drifting(4)
    whole = ClipPixels()(items)
    assert whole.shape == (4, 6 * 64)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(whole, np.concatenate([ClipPixels()([item]) for item in items]), atol=1e-6)


@pytest.mark.parametrize(("frames", "height", "width", "channels"), [(2, 5, 12, 3), (1, 8, 8, 1), (9, 4, 4, 3)])
def test_small_and_short_clips_have_features(frames: int, height: int, width: int, channels: int) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (frames, height, width, channels), dtype=np.uint8)
    assert ClipPixels()([clip]).shape == (1, 6 * channels * min(8, height) * min(8, width))


def test_a_still_clip_has_no_motion_and_an_even_one_twice_as_much_at_twice_the_lag() -> None:
    still = np.full((8, 8, 8, 1), 100, np.uint8)
    ramp = (np.arange(8, dtype=np.uint8) * 10)[:, None, None, None] + still
    features = ClipPixels()([still, ramp])
    assert not features[0, 4 * 64 :].any()
    np.testing.assert_allclose(features[1, 4 * 64 : 5 * 64], 8 * 10 / 255, atol=1e-5)
    np.testing.assert_allclose(features[1, 5 * 64 :], 8 * 20 / 255, atol=1e-5)


def test_frozen_and_shuffled_clips_score_worse_than_other_real_ones() -> None:
    held_out, others = drifting(60, 1), drifting(60, 2)
    features = ClipPixels()
    real = polynomial_mmd(features(others), features(held_out))
    for wrong in controls(held_out).values():
        assert polynomial_mmd(features(wrong), features(held_out)) > 5 * abs(real)
