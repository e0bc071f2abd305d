"""Near-duplicate sounds: a banded hash of a coarse mel picture finds candidates, a finer one decides.

Both look at the trimmed sound below 4 kHz, relative to its own level: another level, rate or encoding of a recording,
or more silence around it, changes little. The hash takes signs of random projections (Charikar 2002).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from miaobi.modalities._loudness import SILENCE, level, normalised, trimmed
from miaobi.modalities._mel import Mel
from miaobi.modalities._waveform import Sound

BANDS = 8
_BITS = 32
_RATE = 8000
_FLOOR = -60.0
_TARGET = -20.0
_TRIM = 35.0
_MEL_BANDS = 24
_COARSE = 12, 8
_COLUMNS = 64
_LEAST_CONTRAST = 4.0
# So that a lossy copy is above 0.9 and another reading of the same word, or "oh" beside "o", is below.
_WEIGHT = 0.5
_PROJECTIONS = np.random.default_rng(0).standard_normal((BANDS * _BITS, _COARSE[0] * _COARSE[1])).astype(np.float32)
_BAND = np.arange(BANDS, dtype=np.uint64) << np.uint64(_BITS)


def signature(sound: Sound) -> np.ndarray | None:
    """``uint64 [8]`` bands; ``None`` for silence, which has nothing to compare."""
    found = _picture(sound)
    if found is None:
        return None
    picture, _ = found
    coarse = _rescaled(_rescaled(picture, _COARSE[1]).T, _COARSE[0])
    bits = (_PROJECTIONS @ (coarse - coarse.mean()).ravel() > 0).reshape(BANDS, _BITS)
    return np.packbits(bits, axis=1).view("<u4")[:, 0].astype(np.uint64) | _BAND


def similarity(left: Sound, right: Sound) -> float:
    """0 to 1: mean difference in decibels of time-aligned mel pictures, against their contrast, times the durations'
    proportion; 0.9 is what a lossy encoding leaves.
    """
    one, other = _picture(left), _picture(right)
    if one is None or other is None:
        return float(one is other and left.rate == right.rate and np.array_equal(left.samples, right.samples))
    (a, long), (b, short) = one, other
    a, b = _rescaled(a, _COLUMNS), _rescaled(b, _COLUMNS)
    contrast = max(float(np.abs(x - x.mean()).mean()) for x in (a, b))
    apart = _WEIGHT * min(_apart(a, b), _apart(a[:, 1:], b[:, :-1]), _apart(a[:, :-1], b[:, 1:]))
    apart /= max(contrast, _LEAST_CONTRAST)
    return max(0.0, 1.0 - apart) * min(long, short) / max(long, short)


def _apart(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left - right).mean())


def _picture(sound: Sound) -> tuple[np.ndarray, int] | None:
    """Mel decibels ``[24, frames]`` of what is left after trimming, and how many samples that is."""
    floats = sound.at(_RATE)
    if not len(floats) or level(floats, _RATE) <= SILENCE:
        return None
    floats = normalised(trimmed(floats, _RATE, _TRIM, margin=0.0), _RATE, _TARGET)
    return _mel().decibels(floats, _FLOOR), len(floats)


def _rescaled(picture: np.ndarray, columns: int) -> np.ndarray:
    """Means over ``columns`` equal stretches of the last axis (linear in between where there are fewer)."""
    length = picture.shape[1]
    edges = np.linspace(0, length, columns + 1)
    sums = np.concatenate([np.zeros((len(picture), 1)), np.cumsum(picture, axis=1, dtype=np.float64)], axis=1)
    whole = np.minimum(edges.astype(int), length - 1)
    at = sums[:, whole] + (edges - whole) * picture[:, whole]
    return (np.diff(at, axis=1) / (length / columns)).astype(np.float32)


@lru_cache(maxsize=1)
def _mel() -> Mel:
    return Mel(_RATE, window=256, hop=64, bands=_MEL_BANDS)
