"""Mel bands of known tones, and sound from mel spectrograms that has them again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.modalities._mel import Mel, filters

quick = settings(max_examples=20, deadline=None)
RATE = 8000
FLOOR = -80.0


def made(bands: int = 64) -> Mel:
    return Mel(RATE, window=256, hop=64, bands=bands)


def tone(hertz: float, seconds: float = 0.5, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


@pytest.mark.parametrize(("rate", "size", "bands"), [(8000, 512, 64), (16_000, 1024, 256), (8000, 64, 128)])
def test_no_filter_is_empty_and_together_they_cover_everything_once(rate: int, size: int, bands: int) -> None:
    found = filters(rate, size, bands)
    assert found.shape == (bands, size // 2 + 1)
    assert (found.max(axis=1) > 0).all()
    assert found.min() >= -1e-6
    centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), bands + 2) / 2595) - 1)
    inside = [
        place
        for place in range(size // 2)
        if centres[1] < (place - 0.5) * rate / size and (place + 0.5) * rate / size < centres[-2]
    ]
    assert found.sum(axis=0)[inside] == pytest.approx(1, abs=1e-3)


@given(st.floats(150, 3700), st.floats(0.01, 0.9))
@quick
def test_a_tone_is_loudest_in_its_own_band_and_ten_times_quieter_is_twenty_decibels(hertz: float, peak: float) -> None:
    mel = made(32)
    centres = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + RATE / 1400), 34) / 2595) - 1)
    picture = mel.decibels(tone(hertz, peak=peak), FLOOR)[:, 8:-8]
    band = int(picture.mean(axis=1).argmax())
    assert centres[band] <= hertz <= centres[band + 2]
    quieter = mel.decibels(tone(hertz, peak=peak / 10), FLOOR)[:, 8:-8]
    assert picture[band] - quieter[band] == pytest.approx(20, abs=0.1)


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_there_is_a_frame_every_hop(count: int) -> None:
    picture = made().decibels(np.zeros(count, np.float32), FLOOR)
    assert picture.shape == (64, -(-count // 64))
    assert picture == pytest.approx(FLOOR)


def syllables(seed: int) -> np.ndarray:
    """A buzz whose pitch, loudness and timbre wander, as a voice's do."""
    rng = np.random.default_rng(seed)
    time = np.arange(RATE) / RATE
    pitch = 150 + 60 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    loud = np.clip(np.sin(2 * np.pi * rng.uniform(2, 5) * time), 0, 1)
    harmonics = [rng.uniform(0.2, 1) / k * np.sin(k * phase) for k in range(1, 20)]
    return (0.1 * loud * np.sum(harmonics, axis=0) + 1e-4 * rng.standard_normal(RATE)).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_griffin_lim_gives_sound_with_the_same_spectrogram(seed: int) -> None:
    mel = made()
    picture = mel.decibels(syllables(seed), FLOOR)
    found = {count: mel.decibels(mel.waveform(picture, count), FLOOR) for count in (1, 32)}
    correlation = {count: np.corrcoef(picture.ravel(), other.ravel())[0, 1] for count, other in found.items()}
    assert correlation[32] > 0.97
    assert np.abs(found[32] - picture).mean() < np.abs(found[1] - picture).mean()


def test_a_tone_comes_back_as_loud_and_as_high() -> None:
    mel = made()
    sound = mel.waveform(mel.decibels(tone(1000, 1.0), FLOOR), 60)
    spectrum = np.abs(np.fft.rfft(sound[1000:7000] * np.hanning(6000)))
    assert abs(spectrum.argmax() * RATE / 6000 - 1000) < 40
    assert np.sqrt((sound[1000:7000] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.25)


def test_the_sound_is_always_the_same_and_the_global_generators_stay() -> None:
    mel = made()
    picture = mel.decibels(syllables(0), FLOOR)
    before = torch.get_rng_state()
    once, again = mel.waveform(picture, 4), made().waveform(picture, 4)
    assert np.array_equal(once, again)
    assert torch.equal(before, torch.get_rng_state())


def test_silence_gives_silence() -> None:
    assert np.abs(made().waveform(np.full((64, 20), 2 * FLOOR, np.float32), 8)).max() < 1e-6
