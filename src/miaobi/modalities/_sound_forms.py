"""The two forms in which sound meets a model: its samples, or a mel spectrogram of them.

A form turns ``float32 [n]`` of the fitted length into the stored array and back, and varies stored arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import CorruptFile
from miaobi.modalities._mel import Mel
from miaobi.modalities._waveform import LEVELS, Sound, fitted_to
from miaobi.types import Form, Spec

_HALF = (LEVELS - 1) / 2
_LOWEST = LEVELS // 2
_MULTIPLE = 8
_LEAST_SPAN = 10.0


class SoundForm(ABC):
    """One form at a fixed rate and length.

    Attributes:
        rate: samples a second.
        samples: of every item.
    """

    rate: int
    samples: int

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """What arrays look like to a model."""

    @abstractmethod
    def encode(self, floats: np.ndarray) -> np.ndarray:
        """The array of ``float32 [samples]``."""

    @abstractmethod
    def decode(self, array: np.ndarray) -> Sound:
        """The sound of an array."""

    @abstractmethod
    def scale(self, arrays: np.ndarray) -> Tensor:
        """``[B, ...]`` arrays as ``float32`` in [-1, 1]."""

    @abstractmethod
    def unscale(self, values: Tensor) -> np.ndarray:
        """The inverse of `scale`, clamped, and rounded where quantised."""

    @abstractmethod
    def vary(self, array: np.ndarray, gain: float, shift: float) -> np.ndarray:
        """Louder by ``gain`` decibels and later by ``shift`` seconds; silence fills the gap."""

    def fit(self, sounds: Iterable[np.ndarray]) -> None:
        """Learn from training sounds ``float32 [samples]``; the default has nothing to learn."""

    def to_json(self) -> dict[str, Any]:
        """What was learnt."""
        return {}

    def take(self, state: dict[str, Any]) -> None:
        """Take what `to_json` gave.

        Raises:
            CorruptFile: it is something else.
        """


class Waveform(SoundForm):
    """16-bit samples ``int16 [1, samples]``: likelihoods are of the 65,536 levels that the data has.

    Level k of 0 to 65,535 is ``k / 32767.5 - 1``, so digital silence is 1.5e-5 rather than 0.
    """

    def __init__(self, rate: int, samples: int) -> None:
        self.rate, self.samples = rate, samples

    @property
    def spec(self) -> Spec:
        return Spec(Form.TENSOR, channels=1, space=(self.samples,), levels=LEVELS)

    def encode(self, floats: np.ndarray) -> np.ndarray:
        return Sound.of(floats, self.rate).samples[None]

    def decode(self, array: np.ndarray) -> Sound:
        return Sound(np.ascontiguousarray(array[0], dtype=np.int16), self.rate)

    def scale(self, arrays: np.ndarray) -> Tensor:
        return torch.from_numpy(arrays).float().add_(_LOWEST).div_(_HALF).sub_(1)

    def unscale(self, values: Tensor) -> np.ndarray:
        levels = values.detach().float().add(1).mul_(_HALF).round_().clamp_(0, LEVELS - 1)
        return levels.sub_(_LOWEST).to(torch.int16).cpu().numpy()

    def vary(self, array: np.ndarray, gain: float, shift: float) -> np.ndarray:
        louder = Sound.of(array * np.float32(10 ** (gain / 20) / _LOWEST), self.rate).samples
        return _moved(louder, round(shift * self.rate), 0)


class MelForm(SoundForm):
    """Mel decibels ``float32 [bands, frames]``, each band scaled from ``floor`` to its peak in training to [-1, 1].

    ``samples`` is rounded up to a multiple of eight frames, so that networks can halve the time axis three times.

    Args:
        rate: samples a second.
        samples: at least so many.
        mel: the analysis.
        floor: decibels relative to full scale that are silence.
        iterations: of Griffin-Lim.
    """

    def __init__(self, rate: int, samples: int, mel: Mel, floor: float, iterations: int) -> None:
        unit = mel.hop * _MULTIPLE
        self.rate, self.samples = rate, -(-samples // unit) * unit
        self._mel, self._floor, self._iterations = mel, floor, iterations
        self._span = np.full((mel.bands, 1), -floor, dtype=np.float32)

    @property
    def spec(self) -> Spec:
        return Spec(Form.TENSOR, channels=self._mel.bands, space=(self.samples // self._mel.hop,))

    def fit(self, sounds: Iterable[np.ndarray]) -> None:
        """Learn each band's peak."""
        peaks = np.full(self._mel.bands, self._floor, dtype=np.float32)
        for floats in sounds:
            peaks = np.maximum(peaks, self._mel.decibels(fitted_to(floats, self.samples), self._floor).max(axis=1))
        self._span = np.maximum(peaks - self._floor, _LEAST_SPAN)[:, None]

    def encode(self, floats: np.ndarray) -> np.ndarray:
        decibels = self._mel.decibels(fitted_to(floats, self.samples), self._floor)
        return np.clip(2 * (decibels - self._floor) / self._span - 1, -1, 1).astype(np.float32)

    def decode(self, array: np.ndarray) -> Sound:
        decibels = (np.asarray(array, dtype=np.float32) + 1) / 2 * self._span + self._floor
        # What is at the floor is silence, not a hiss as loud as the floor.
        decibels = np.where(array > -1, decibels, 2 * self._floor)
        return Sound.of(self._mel.waveform(decibels, self._iterations), self.rate)

    def scale(self, arrays: np.ndarray) -> Tensor:
        return torch.from_numpy(arrays)

    def unscale(self, values: Tensor) -> np.ndarray:
        return values.detach().float().clamp(-1, 1).cpu().numpy()

    def vary(self, array: np.ndarray, gain: float, shift: float) -> np.ndarray:
        louder = np.where(array > -1, np.clip(array + np.float32(2 * gain) / self._span, -1, 1), -1)
        return _moved(louder.astype(np.float32), round(shift * self.rate / self._mel.hop), -1)

    def to_json(self) -> dict[str, Any]:
        return {"span": [round(float(value), 4) for value in self._span[:, 0]]}

    def take(self, state: dict[str, Any]) -> None:
        try:
            span = np.array(state["span"], dtype=np.float32)[:, None]
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise CorruptFile(f"no mel statistics: {error!r}") from None
        if span.shape != self._span.shape or not (span >= _LEAST_SPAN).all() or not np.isfinite(span).all():
            raise CorruptFile("the mel statistics are those of something else", given=state["span"])
        self._span = span


def _moved(array: np.ndarray, by: int, fill: int) -> np.ndarray:
    """``[C, n]`` moved right by ``by`` places (left where negative)."""
    by = max(-array.shape[1], min(array.shape[1], by))
    gap = np.full((array.shape[0], abs(by)), fill, dtype=array.dtype)
    return np.concatenate([gap, array[:, : array.shape[1] - by]] if by >= 0 else [array[:, -by:], gap], axis=1)
