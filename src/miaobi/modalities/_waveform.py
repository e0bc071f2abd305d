"""Sound as numbers: the canonical item, changing rates, and 16-bit WAV bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

LEVELS = 1 << 16
_FULL = 1 << 15


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Mono sound.

    Attributes:
        samples: ``int16 [n]``, n of at least 1; 32,768 is full scale.
        rate: samples a second.
    """

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.samples) / self.rate

    @property
    def floats(self) -> np.ndarray:
        """``float32 [n]`` in [-1, 1)."""
        return self.samples.astype(np.float32) / _FULL

    @classmethod
    def of(cls, floats: np.ndarray, rate: int) -> Sound:
        """Rounded to 16 bits; what is beyond full scale is clipped."""
        return cls(np.clip(np.rint(floats * _FULL), -_FULL, _FULL - 1).astype(np.int16), rate)

    def at(self, rate: int) -> np.ndarray:
        """``float32`` samples at another rate."""
        return resampled(self.floats, self.rate, rate)


def resampled(floats: np.ndarray, rate: int, new: int) -> np.ndarray:
    """``float32`` samples at the rate ``new``, band-limited: what the lower rate cannot carry is gone."""
    if rate == new:
        return floats
    return np.asarray(soxr.resample(floats, rate, new, quality="HQ"), dtype=np.float32)


def fitted_to(floats: np.ndarray, samples: int) -> np.ndarray:
    """The first ``samples`` of a sound, with silence after its end where it is shorter."""
    kept = floats[:samples]
    return np.pad(kept, (0, samples - len(kept)))


def wav_bytes(sound: Sound) -> bytes:
    """A 16-bit PCM WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.samples, sound.rate, subtype="PCM_16", format="WAV")
    return buffer.getvalue()
