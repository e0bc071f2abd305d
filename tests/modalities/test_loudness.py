"""Levels of sounds whose level is known, trimming, and what silence does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.modalities._loudness import SILENCE, level, normalised, silent_share, trimmed

quick = settings(max_examples=40, deadline=None)
RATE = 8000


def sine(seconds: float = 1.0, peak: float = 0.5, hertz: float = 440.0, rate: int = RATE) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_a_full_scale_sine_is_three_decibels_below_a_square() -> None:
    assert level(sine(peak=1.0), RATE) == pytest.approx(-3.01, abs=0.02)
    assert level(np.sign(sine(hertz=400.0) + 1e-9), RATE) == pytest.approx(0, abs=0.02)


def test_pauses_do_not_lower_the_level() -> None:
    with_pause = np.concatenate([sine(), np.zeros(4 * RATE, np.float32), sine()])
    assert level(with_pause, RATE) == pytest.approx(level(sine(), RATE), abs=0.1)
    assert silent_share(with_pause, RATE) == pytest.approx(4 / 6, abs=0.02)


@given(st.floats(-50, -1), st.floats(-40, -12), st.integers(0, 2**32 - 1))
@quick
def test_normalising_hits_the_target(before: float, target: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    floats = (rng.uniform(-1, 1, RATE) * 10 ** (before / 20)).astype(np.float32)
    made = normalised(floats, RATE, target)
    assert level(made, RATE) == pytest.approx(target, abs=0.2)
    assert np.abs(made).max() <= 1


def test_peaks_limit_the_gain() -> None:
    clicks = np.where(np.arange(RATE) % 400 == 0, 0.5, 0.001).astype(np.float32)
    made = normalised(clicks, RATE, -12)
    assert np.abs(made).max() == pytest.approx(10 ** (-0.1 / 20), abs=1e-3)
    assert level(made, RATE) < -12


def test_silence_stays_silent_and_whole() -> None:
    silence = np.zeros(RATE, np.float32)
    assert level(silence, RATE) == SILENCE
    assert np.array_equal(normalised(silence, RATE, -20), silence)
    assert np.array_equal(trimmed(silence, RATE, 40), silence)
    assert silent_share(silence, RATE) == 1


@given(st.integers(0, RATE), st.integers(0, RATE), st.sampled_from([8000, 16_000, 44_100]))
@quick
def test_trimming_keeps_the_sound_and_little_else(before: int, after: int, rate: int) -> None:
    tone = sine(0.5, rate=rate)
    made = trimmed(np.concatenate([np.zeros(before, np.float32), tone, np.zeros(after, np.float32)]), rate, 40)
    assert len(tone) - 2 <= len(made) <= len(tone) + 0.085 * rate
    assert float((made**2).sum()) == pytest.approx(float((tone**2).sum()), rel=1e-3)


@pytest.mark.parametrize("count", [1, 2, 79, 80, 81])
def test_the_shortest_sounds_have_a_level(count: int) -> None:
    floats = np.full(count, 0.5, np.float32)
    assert level(floats, RATE) == pytest.approx(-6.02, abs=0.01)
    assert np.array_equal(trimmed(floats, RATE, 40), floats)
