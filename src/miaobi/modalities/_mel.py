"""Mel spectrograms, and sound from them again.

The scale is that of O'Shaughnessy 1987, "Speech Communication"; phases come from the fast Griffin-Lim algorithm of
Perraudin, Balazs and Sondergaard 2013, "A fast Griffin-Lim algorithm".
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

_MOMENTUM = 0.99
_UNMIXING_STEPS = 30
_SMALLEST = 1e-12


class Mel:
    """Short-time power in mel bands from 0 Hz to half the rate.

    Args:
        rate: samples a second.
        window: samples of the Hann window, at least twice ``hop``.
        hop: samples between frames.
        bands: overlapping triangles, evenly spaced in mels.
    """

    def __init__(self, rate: int, window: int, hop: int, bands: int) -> None:
        self.hop, self.bands = hop, bands
        self._window = torch.hann_window(window)
        # Twice as fine as the window resolves, so that narrow bands at low frequencies differ.
        self._size = 1 << math.ceil(math.log2(2 * window))
        self._scale = 2 / float(self._window.sum())
        self._filters = torch.from_numpy(filters(rate, self._size, bands))

    def decibels(self, floats: np.ndarray, floor: float) -> np.ndarray:
        """``float32 [bands, ceil(n / hop)]`` of ``float32 [n]``, relative to full scale, at least ``floor``.

        Frame i is centred on sample ``i * hop``; beyond its ends the sound is silent.
        """
        frames = -(-len(floats) // self.hop)
        signal = F.pad(torch.from_numpy(floats), (0, frames * self.hop - len(floats)))
        power = (self._spectrum(signal)[:, :frames].abs() * self._scale).square()
        return (10 * (self._filters @ power).clamp_min(10 ** (floor / 10)).log10()).numpy()

    def waveform(self, decibels: np.ndarray, iterations: int) -> np.ndarray:
        """``float32 [frames * hop]``: a sound whose bands are near ``decibels [bands, frames]``; always the same one.

        Args:
            decibels: as `decibels` gives them.
            iterations: of Griffin-Lim; each costs two transforms.
        """
        mel = torch.from_numpy(10 ** (np.asarray(decibels, dtype=np.float32) / 10))
        magnitude = self._unmixed(mel).sqrt() / self._scale
        magnitude = torch.cat([magnitude, magnitude[:, -1:]], dim=1)
        return self._phased(magnitude, decibels.shape[1] * self.hop, iterations).numpy()

    def _spectrum(self, signal: Tensor) -> Tensor:
        return torch.stft(
            signal,
            self._size,
            self.hop,
            len(self._window),
            self._window,
            pad_mode="constant",
            return_complex=True,
        )

    def _unmixed(self, mel: Tensor) -> Tensor:
        """Power ``[bins, frames]`` whose bands are ``mel``: multiplicative updates (Lee and Seung 2001)."""
        mixing = self._filters.sum(0, keepdim=True).T.clamp_min(_SMALLEST)
        power = self._filters.T @ (mel / self._filters.sum(1, keepdim=True)) / mixing
        for _ in range(_UNMIXING_STEPS):
            power = power * (self._filters.T @ (mel / (self._filters @ power).clamp_min(_SMALLEST))) / mixing
        return power

    def _phased(self, magnitude: Tensor, samples: int, iterations: int) -> Tensor:
        turns = np.random.default_rng(0).random(magnitude.shape, dtype=np.float32) * np.float32(2 * math.pi)
        phases = torch.polar(torch.ones_like(magnitude), torch.from_numpy(turns))
        before = torch.zeros_like(phases)
        for _ in range(iterations):
            rebuilt = self._spectrum(self._signal(magnitude * phases, samples))
            ahead = rebuilt + _MOMENTUM * (rebuilt - before)
            phases = ahead / ahead.abs().clamp_min(_SMALLEST)
            before = rebuilt
        return self._signal(magnitude * phases, samples)

    def _signal(self, spectrum: Tensor, samples: int) -> Tensor:
        return torch.istft(spectrum, self._size, self.hop, len(self._window), self._window, length=samples)


def filters(rate: int, size: int, bands: int) -> np.ndarray:
    """``float32 [bands, size / 2 + 1]``: each triangle's mean over each bin's interval, so that none is empty."""
    edges = _hertz(np.linspace(0, _mels(rate / 2), bands + 2))
    borders = (np.arange(size // 2 + 2) - 0.5) * rate / size
    areas = [np.diff(_area(borders, *edges[band : band + 3])) for band in range(bands)]
    return (np.stack(areas) * size / rate).astype(np.float32)


def _area(frequency: np.ndarray, low: float, centre: float, high: float) -> np.ndarray:
    """Area under a triangle of height one, up to ``frequency``."""
    rising = np.clip(frequency, low, centre) - low
    falling = high - np.clip(frequency, centre, high)
    return rising**2 / (2 * (centre - low)) + (high - centre) / 2 - falling**2 / (2 * (high - centre))


def _mels(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def _hertz(mels: np.ndarray) -> np.ndarray:
    return np.asarray(700 * (10 ** (mels / 2595) - 1))
