"""How loud a sound is, bringing it to a level, and where it begins and ends.

A level is the root mean square, in decibels relative to full scale (a full-scale square wave is 0 dBFS, a sine -3.01),
of the blocks that pass the gates of ITU-R BS.1770-4: pauses do not make speech quieter. There is no frequency
weighting, so it is not LUFS.
"""

from __future__ import annotations

import math

import numpy as np

SILENCE = -120.0
"""dBFS, in place of minus infinity."""
QUIET = -50.0
"""dBFS: a block below it is silence to a listener."""
_BLOCK = 0.05
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
_LARGEST_PEAK = 10 ** (-0.1 / 20)
_TRIM_BLOCK = 0.01


def decibels(power: np.ndarray | float) -> np.ndarray:
    """Of mean squares; at least `SILENCE`."""
    return 10 * np.log10(np.maximum(power, 10 ** (SILENCE / 10)))


def blocks(floats: np.ndarray, rate: int, seconds: float = _BLOCK) -> np.ndarray:
    """Mean square of each consecutive block, the last one shorter; ``float64``."""
    size = max(1, round(rate * seconds))
    starts = np.arange(0, len(floats), size)
    return np.add.reduceat(floats.astype(np.float64) ** 2, starts) / np.diff(starts, append=len(floats))


def level(floats: np.ndarray, rate: int) -> float:
    """Gated level in dBFS of ``float32 [n]``; `SILENCE` for silence."""
    power = blocks(floats, rate)
    heard = power[decibels(power) > _ABSOLUTE_GATE]
    if not len(heard):
        return SILENCE
    loud = heard[decibels(heard) > float(decibels(heard.mean())) + _RELATIVE_GATE]
    return float(decibels(loud.mean()))


def normalised(floats: np.ndarray, rate: int, target: float) -> np.ndarray:
    """Scaled to the level ``target`` in dBFS, or as near as keeps peaks 0.1 dB below full scale; silence stays."""
    found = level(floats, rate)
    if found <= SILENCE:
        return floats
    gain = min(10 ** ((target - found) / 20), _LARGEST_PEAK / float(np.abs(floats).max()))
    return floats * np.float32(gain)


def trimmed(floats: np.ndarray, rate: int, threshold: float, margin: float = 0.03) -> np.ndarray:
    """Without what, at its start and end, is ``threshold`` decibels below its loudest 10 ms; silence stays whole.

    ``margin`` more seconds are kept at each end: consonants begin and end quietly.
    """
    power = decibels(blocks(floats, rate, _TRIM_BLOCK))
    loudest = float(power.max())
    if loudest <= _ABSOLUTE_GATE:
        return floats
    heard = np.flatnonzero(power >= loudest - threshold)
    size, more = max(1, round(rate * _TRIM_BLOCK)), math.ceil(rate * margin)
    return floats[max(0, int(heard[0]) * size - more) : (int(heard[-1]) + 1) * size + more]


def silent_share(floats: np.ndarray, rate: int) -> float:
    """Share of 50 ms blocks below `QUIET`, 0 to 1."""
    return float((decibels(blocks(floats, rate)) < QUIET).mean())
