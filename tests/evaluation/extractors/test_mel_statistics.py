"""Mel statistics: level, pitch and rhythm are heard, and each feature stays of the order of one."""

from __future__ import annotations

import numpy as np
import pytest

from miaobi.evaluation.extractors import choose, create
from miaobi.evaluation.extractors.mel_statistics import BANDS, decibels, modulation
from miaobi.modalities import create as modality
from miaobi.modalities._waveform import Sound

RATE = 8000


def beating(hertz: float, rate: int = RATE) -> Sound:
    time = np.arange(2 * rate) / rate
    loud = 10 ** (np.sin(2 * np.pi * hertz * time) / 2)
    return Sound.of(0.07 * loud * np.sin(2 * np.pi * 1000 * time), rate)


def noise(seed: int, count: int = RATE, peak: float = 0.1) -> Sound:
    return Sound.of(peak * np.random.default_rng(seed).standard_normal(count), RATE)


def test_features_are_of_the_order_of_one_and_depend_on_the_item_alone() -> None:
    items = [noise(0), noise(1, 3000), beating(4), Sound(np.zeros(RATE, np.int16), RATE)]
    whole = create("mel_statistics")(items)
    assert whole.shape == (4, 160)
    assert whole.dtype == np.float32
    assert np.abs(whole).max() < 8
    assert np.array_equal(whole, np.concatenate([create("mel_statistics")([item]) for item in items]))
    assert choose(None, modality("speech")).name == "mel_statistics"


@pytest.mark.parametrize("count", [1, 100, 200, 400])
def test_the_shortest_sounds_have_finite_features(count: int) -> None:
    assert np.isfinite(create("mel_statistics")([noise(0, count)])).all()


def test_louder_by_ten_decibels_moves_the_means_and_nothing_else() -> None:
    quiet, loud = create("mel_statistics")([noise(0, peak=0.03), noise(0, peak=0.03 * 10**0.5)])
    heard = slice(2, 28)  # below the sound's 4 kHz
    assert (loud - quiet)[:BANDS][heard] * 20 == pytest.approx(10, abs=0.5)
    assert (loud - quiet)[BANDS : 2 * BANDS][heard] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize(("hertz", "octave"), [(1.5, 0), (3, 1), (6, 2), (12, 3), (20, 4)])
def test_modulation_is_in_its_own_octave(hertz: float, octave: int) -> None:
    carrier = np.random.default_rng(0).standard_normal(2 * RATE)
    loud = 10 ** (np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE) / 2)
    depths = modulation(decibels(Sound.of(0.03 * loud * carrier, RATE)))[:5]
    assert (depths.argmax(axis=1) == octave).all()
    # An amplitude of 10 dB is a root mean square of 7.07; the window smooths what is fast.
    assert depths[:, octave] == pytest.approx(7.07, rel=0.1 if hertz < 5 else 0.5)


def test_the_rate_of_a_file_matters_little() -> None:
    low, high = create("mel_statistics")([beating(3), beating(3, 16_000)])
    assert np.abs(low - high)[:26].max() < 0.15
