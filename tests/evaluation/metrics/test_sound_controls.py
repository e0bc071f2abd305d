"""The controls of sound are where they must be: noise is at no distance from noise, a loop from itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.modalities._waveform import Sound
from tests.evaluation.metrics.test_sound import RATE, noise
from tests.evaluation.stand_ins import Sampler, context, data, digits, image


def scored(held: Sequence[Sound], train: Sequence[Sound], **options: Any) -> Any:
    modality = modalities.create({"name": "speech", "loudness": None, "trim": None, "seconds": 1.0})
    modality.fit(held)
    prepared = data(modality, list(train), list(held))
    family = Sampler(modality, [held[0]])
    return score(context(family, prepared, extractor="mel_statistics", **options), ["sound_controls"])


def chirps(seed: int) -> Sound:
    """Tones of random pitch in bursts: nothing like noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    pitch = np.repeat(rng.uniform(200, 2000, 8), RATE // 8)
    return Sound.of(0.2 * np.sin(2 * np.pi * pitch * time) * (np.sin(2 * np.pi * 4 * time) > 0), RATE)


def test_white_noise_is_near_noise_and_far_from_anything_else() -> None:
    near = scored([noise(seed) for seed in range(20)], [noise(seed) for seed in range(20, 40)])
    far = scored([chirps(seed) for seed in range(20)], [chirps(seed) for seed in range(20, 40)])
    assert abs(near["noise_kernel_distance"].value) < 0.05
    assert far["noise_kernel_distance"].value > 100 * abs(near["noise_kernel_distance"].value)


def test_the_nearest_loop_counts() -> None:
    """Noise repeated is still nearly noise, so one noisy clip among tones makes the loops near to held-out noise."""
    held = [noise(seed) for seed in range(20)]
    tones = [chirps(seed) for seed in range(8)]
    without, with_one = scored(held, tones), scored(held, [*tones[:7], noise(99)])
    assert with_one["looped_kernel_distance"].value < without["looped_kernel_distance"].value / 10


def test_a_brief_look_leaves_them_out_and_anything_but_sound_is_refused() -> None:
    assert scored([noise(1), noise(2)], [noise(3), noise(4)], brief=True) == {}
    items = digits(4)
    with pytest.raises(Unsupported, match="of sound"):
        score(context(Sampler(image(items), items), data(image(items), items, items)), ["sound_controls"])
