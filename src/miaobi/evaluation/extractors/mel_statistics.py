"""Statistics of mel spectrograms as features of sound: no weights and no extra.

Means and variances of cepstra or mel bands are the classic description of a sound's timbre (Logan 2000, "Mel frequency
cepstral coefficients for music modeling"); the modulation spectrum adds its rhythm (Greenberg and Kingsbury 1997, "The
modulation spectrogram"). They hear level, timbre, pauses and syllable rate, and neither words nor who speaks.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import ClassVar

import numpy as np

from miaobi.evaluation.extractors._base import Extractor
from miaobi.modalities import Item
from miaobi.modalities._mel import Mel

RATE = 16_000
WINDOW, HOP = 512, 160
BANDS = 40
FLOOR = -80.0
OCTAVES = (1, 2, 4, 8, 16, 32)
"""Hertz: borders of the ranges of modulation."""
_GROUPS = 8
_CENTRE, _SPREAD, _SMALL_SPREAD = -50.0, 20.0, 5.0


class MelStatistics(Extractor):
    """160 numbers a sound, each of the order of one.

    40 mel bands' mean and standard deviation over time, standard deviation of their change in 20 ms, and the depth of
    modulation of eight groups of five bands in five octaves from 1 to 32 Hz; all in decibels, scaled.
    """

    modalities: ClassVar[frozenset[str]] = frozenset({"speech"})
    preprocessing: ClassVar[str] = (
        f"resampled to {RATE} Hz, {BANDS} mel bands in dBFS from {FLOOR:g}, Hann window {WINDOW}, hop {HOP}; mean, "
        "standard deviation, standard deviation of change over two frames, and modulation depth of eight groups of "
        "bands in the octaves 1 to 32 Hz; mean (dB + 50) / 20, deviation dB / 20, change and modulation dB / 5"
    )

    def __call__(self, items: Iterable[Item]) -> np.ndarray:
        return np.stack([statistics(decibels(item)) for item in items])


def decibels(item: Item) -> np.ndarray:
    """``float32 [40, frames]``: a sound's mel spectrogram in dBFS, a frame every 10 ms."""
    floats = item.at(RATE)
    # A sound so short that nothing is left at this rate is silence.
    return _mel().decibels(floats if len(floats) else np.zeros(HOP, np.float32), FLOOR)


def statistics(picture: np.ndarray) -> np.ndarray:
    """``float32 [160]`` of mel decibels ``[40, frames]``."""
    change = picture[:, 2:] - picture[:, :-2]
    changes = change.std(axis=1) if change.shape[1] else np.zeros(BANDS)
    parts = [
        (picture.mean(axis=1) - _CENTRE) / _SPREAD,
        picture.std(axis=1) / _SPREAD,
        changes / _SMALL_SPREAD,
        modulation(picture).ravel() / _SMALL_SPREAD,
    ]
    return np.concatenate(parts).astype(np.float32)


def modulation(picture: np.ndarray) -> np.ndarray:
    """``[8, 5]``: root mean square in decibels of each group of bands' envelope within each octave from 1 to 32 Hz."""
    envelopes = picture.reshape(_GROUPS, -1, picture.shape[1]).mean(axis=1)
    frames = envelopes.shape[1]
    spectrum = np.fft.rfft(envelopes - envelopes.mean(axis=1, keepdims=True), axis=1)
    power = 2 * np.abs(spectrum) ** 2 / frames**2
    frequencies = np.fft.rfftfreq(frames, HOP / RATE)
    octaves = [(frequencies >= low) & (frequencies < 2 * low) for low in OCTAVES[:-1]]
    return np.sqrt(np.stack([power[:, chosen].sum(axis=1) for chosen in octaves], axis=1))


@lru_cache(maxsize=1)
def _mel() -> Mel:
    return Mel(RATE, WINDOW, HOP, BANDS)
