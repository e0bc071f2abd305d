"""Figures of sounds that are known by how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.extractors.mel_statistics import decibels as decibels_of
from miaobi.evaluation.metrics.sound import distance
from miaobi.modalities._waveform import Sound
from tests.evaluation.stand_ins import Sampler, context, data, digits, image

RATE = 8000


def noise(seed: int, gain: float = 0.1, tilt: float = 0.0, pause: float = 0.0) -> Sound:
    """A second of noise; ``tilt`` takes high frequencies away, ``pause`` is the share of silence at its end."""
    floats = gain * np.random.default_rng(seed).standard_normal(RATE)
    floats = floats + tilt * np.roll(floats, 1)
    floats[round(RATE * (1 - pause)) :] = 0
    return Sound.of(floats, RATE)


def scored(samples: Sequence[Sound], real: Sequence[Sound], **options: Any) -> Any:
    modality = modalities.create({"name": "speech", "loudness": None, "trim": None, "seconds": 1.0})
    modality.fit(real)
    prepared = data(modality, list(real), list(real))
    family = Sampler(modality, samples)
    return score(context(family, prepared, extractor="mel_statistics", **options), ["sound"])


REAL = [noise(seed) for seed in range(20)]


def test_the_same_sound_is_near_and_has_the_same_level() -> None:
    scores = scored([noise(seed) for seed in range(50, 90)], REAL)
    assert scores["spectral_distance"].value < 0.5
    assert scores["modulation_distance"].value < 0.5
    assert scores["level"].value == pytest.approx(-20, abs=0.1)
    assert scores["level"].floor == pytest.approx(-20, abs=0.1)
    assert scores["silence_share"].value == scores["clipped_share"].value == 0


def test_ten_decibels_are_a_distance_of_ten() -> None:
    scores = scored([noise(seed, 0.1 / 10**0.5) for seed in range(40)], REAL)
    assert scores["level"].value == pytest.approx(-30, abs=0.1)
    # The bands above the sound's own rate are at the floor on both sides.
    assert 7 < scores["spectral_distance"].value < 10
    assert scores["modulation_distance"].value < 0.5


def test_silence_clipping_and_rhythm_are_found() -> None:
    plain = scored([noise(seed) for seed in range(40)], REAL)
    paused = scored([noise(seed, pause=0.5) for seed in range(40)], REAL)
    assert paused["silence_share"].value == pytest.approx(0.5, abs=0.06)
    assert paused["modulation_distance"].value > 5 * plain["modulation_distance"].value
    assert paused["variation_distance"].value > 5
    clipped = scored([noise(seed, 2.0) for seed in range(40)], REAL)
    assert clipped["clipped_share"].value > 0.5
    assert scored([Sound(np.zeros(RATE, np.int16), RATE)], REAL)["level"].value == -120


def test_a_full_scale_sine_has_the_published_level_and_loudness() -> None:
    sine = Sound.of(np.sin(2 * np.pi * 997 * np.arange(RATE) / RATE), RATE)
    scores = scored([sine], [sine] * 3)
    assert scores["level"].value == pytest.approx(-3.01, abs=0.02)
    assert scores["loudness"].value == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize("decibels", [-6.0, 3.0])
def test_the_distance_of_a_scaled_copy_is_its_gain(decibels: float) -> None:
    """Sixteen kilohertz, so that every band hears something above the floor."""
    floats = [0.1 * np.random.default_rng(seed).standard_normal(16_000) for seed in range(12)]
    copies = [Sound.of(10 ** (decibels / 20) * one, 16_000) for one in floats]
    scores = scored(copies, [Sound.of(one, 16_000) for one in floats], count=12)
    pictures = [decibels_of(one) for one in copies]
    assert min(picture.min() for picture in pictures) > -80
    found = distance(
        np.stack([picture.mean(axis=1) for picture in pictures]),
        np.stack([decibels_of(Sound.of(one, 16_000)).mean(axis=1) for one in floats]),
    )
    assert found == pytest.approx(abs(decibels), abs=0.02)
    assert scores["spectral_distance"].value == pytest.approx(abs(decibels), abs=0.5), "samples are drawn with repeats"
    assert scores["level"].value - scores["level"].floor == pytest.approx(decibels, abs=0.05)
    assert scores["variation_distance"].value < 0.3


def test_distances_say_what_they_were_measured_on() -> None:
    scores = scored([noise(3)], REAL)
    assert "40 mel bands" in scores["spectral_distance"].protocol["preprocessing"]
    assert scores["loudness"].protocol["versions"].keys() >= {"scipy", "soxr"}


def test_scores_are_stamped_and_brief_ones_are_cheap() -> None:
    scores = scored([noise(3)], [noise(seed) for seed in range(100)])
    for found in scores.values():
        assert found.floor is not None
        assert found.interval is not None
        assert len(found.protocol["unit"]) > 10
    brief = scored([noise(3)], REAL, brief=True)
    assert brief["spectral_distance"].floor is None
    assert brief["spectral_distance"].value == pytest.approx(scored([noise(3)], REAL)["spectral_distance"].value)


def test_what_is_no_sound_is_refused() -> None:
    items = digits(4)
    with pytest.raises(Unsupported, match="of sound"):
        score(context(Sampler(image(items), items), data(image(items), items, items)), ["sound"])
