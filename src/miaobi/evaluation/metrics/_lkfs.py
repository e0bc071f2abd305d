"""Loudness as people hear it: ITU-R BS.1770-4, of one channel."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from miaobi.modalities._loudness import SILENCE
from miaobi.modalities._waveform import resampled

RATE = 48_000
_SHELF = ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585))
_HIGH_PASS = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))
_BLOCK, _STEP = 19_200, 4_800
_OFFSET = -0.691
_ABSOLUTE, _RELATIVE = -70.0, -10.0


def loudness(floats: np.ndarray, rate: int) -> float:
    """LKFS of ``float32 [n]``; `SILENCE` where no block of 0.4 s passes the gates; what is shorter is one block."""
    weighted = resampled(floats, rate, RATE).astype(np.float64)
    for numerator, denominator in (_SHELF, _HIGH_PASS):
        weighted = lfilter(numerator, denominator, weighted)
    power = _powers(weighted)
    for gate in (_ABSOLUTE, None):
        threshold = _decibels(power.mean()) + _RELATIVE if gate is None else gate
        power = power[_decibels(power) > threshold]
        if not len(power):
            return SILENCE
    return float(_decibels(power.mean()))


def _powers(weighted: np.ndarray) -> np.ndarray:
    """Mean squares of blocks of 0.4 s, a new one every 0.1 s."""
    sums = np.concatenate([[0.0], np.cumsum(weighted**2)])
    size = max(1, min(_BLOCK, len(weighted)))
    starts = np.arange(0, max(1, len(weighted) - size + 1), _STEP)
    ends = np.minimum(starts + size, len(weighted))
    return np.asarray((sums[ends] - sums[starts]) / size)


def _decibels(power: np.ndarray | float) -> np.ndarray:
    return _OFFSET + 10 * np.log10(np.maximum(power, 1e-12))
