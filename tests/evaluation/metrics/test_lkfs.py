"""Loudness of the signals that the recommendation and the EBU publish values of (one channel is 3.01 below two)."""

from __future__ import annotations

import numpy as np
import pytest

from miaobi.evaluation.metrics._lkfs import loudness
from miaobi.modalities._loudness import SILENCE

ONE_CHANNEL = 10 * np.log10(2)


def sine(hertz: float, level: float, seconds: float, rate: int = 48_000) -> np.ndarray:
    """``level`` is the peak's, in decibels."""
    return (10 ** (level / 20) * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000, 8_000])
def test_a_full_scale_sine_of_997_hertz_is_at_minus_3_01(rate: int) -> None:
    """ITU-R BS.1770-4, annex 1."""
    assert loudness(sine(997, 0, 5, rate), rate) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize(("level", "expected"), [(-23.0, -23.0), (-33.0, -33.0)])
def test_ebu_cases_1_and_2(level: float, expected: float) -> None:
    """EBU Tech 3341: 20 seconds of 1 kHz."""
    assert loudness(sine(1000, level, 20), 48_000) + ONE_CHANNEL == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize(
    "parts",
    [[(-36, 10), (-23, 60), (-36, 10)], [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)]],
)
def test_ebu_cases_3_and_4_are_of_the_gates(parts: list[tuple[float, float]]) -> None:
    signal = np.concatenate([sine(1000, level, seconds) for level, seconds in parts])
    assert loudness(signal, 48_000) + ONE_CHANNEL == pytest.approx(-23.0, abs=0.1)


def test_low_tones_count_less_and_high_ones_more() -> None:
    low, middle, high = (loudness(sine(hertz, -20, 2), 48_000) for hertz in (40, 1000, 8000))
    # Both filters together: 4 dB of shelf above, the high pass below.
    assert high - middle == pytest.approx(3.3, abs=0.3)
    assert middle - low > 4


@pytest.mark.parametrize("count", [1, 10, 1000, 30_000])
def test_short_sounds_and_silence_have_a_loudness(count: int) -> None:
    assert loudness(np.zeros(count, np.float32), 48_000) == SILENCE
    assert np.isfinite(loudness(np.full(count, 0.5, np.float32), 8_000))
