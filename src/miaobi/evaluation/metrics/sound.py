"""How generated sound differs from held-out sound in what can be stated in decibels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.context import spaced
from miaobi.evaluation.extractors.mel_statistics import BANDS, FLOOR, HOP, RATE, WINDOW, decibels, modulation
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import jackknife, of_mean
from miaobi.evaluation.metrics._lkfs import loudness
from miaobi.evaluation.records import Direction, Score
from miaobi.modalities import Item
from miaobi.modalities._loudness import level, silent_share
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_FULL = 32_766
_PREPROCESSING = f"resampled to {RATE} Hz, {BANDS} mel bands in dBFS from {FLOOR:g}, Hann window {WINDOW}, hop {HOP}"
_UNITS = {
    "loudness": "LKFS of one channel, ITU-R BS.1770-4",
    "level": "dBFS: root mean square of the 50 ms blocks that pass BS.1770's gates, without its frequency weighting",
    "silence_share": "share of 50 ms blocks below -50 dBFS",
    "clipped_share": "share of samples at full scale",
    "spectral_distance": "decibels: root mean square over 40 mel bands of the difference of means over time and items",
    "variation_distance": "the same of the standard deviations over time",
    "modulation_distance": "decibels: the same of modulation depths from 1 to 32 Hz: syllables and pauses",
}
_FIGURES: dict[str, Callable[[Item], float]] = {
    "loudness": lambda item: loudness(item.floats, item.rate),
    "level": lambda item: level(item.floats, item.rate),
    "silence_share": lambda item: silent_share(item.floats, item.rate),
    "clipped_share": lambda item: float((np.abs(item.samples.astype(np.int32)) >= _FULL).mean()),
}
_VECTORS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "spectral_distance": lambda picture: picture.mean(axis=1),
    "variation_distance": lambda picture: picture.std(axis=1),
    "modulation_distance": lambda picture: modulation(picture).ravel(),
}


class Sound(Metric):
    """Loudness, level, silence and clipping of the samples, and how far their average spectrum and modulation are from
    held-out items'.

    Pitfalls. Averages hide much: noise of the right spectrum has a small ``spectral_distance`` (and a large
    ``modulation_distance``), and one good sample repeated has none at all; read them beside the kernel distance.
    """

    figures: ClassVar[dict[str, Direction]] = {
        "spectral_distance": Direction.LOWER,
        "variation_distance": Direction.LOWER,
        "modulation_distance": Direction.LOWER,
        "loudness": Direction.NEITHER,
        "level": Direction.NEITHER,
        "silence_share": Direction.NEITHER,
        "clipped_share": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'log-spectral distance: Gray and Markel 1976, "Distance measures for speech processing"; '
        "loudness: ITU-R BS.1770-4"
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR})
    libraries: ClassVar[tuple[str, ...]] = ("scipy", "soxr")

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse anything but sound."""
        super().check(family, modality)
        if modality.name != "speech":
            raise Unsupported("the metric sound is of sound", given=modality.name, cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        """Seven figures."""
        pictures = [decibels(item) for item in context.generated_items]
        real = [decibels(item) for item in context.real_items]
        training = [] if context.brief else _training(context)
        scores = {
            figure: self._distance(context, figure, *(_vectors(side, of) for side in (pictures, real, training)))
            for figure, of in _VECTORS.items()
        }
        return scores | {figure: self._mean(context, figure, of) for figure, of in _FIGURES.items()}

    def _distance(
        self, context: Context, figure: str, generated: np.ndarray, real: np.ndarray, training: np.ndarray
    ) -> Score:
        value = distance(generated, real)
        interval, floor = None, None
        if not context.brief:
            interval = jackknife(
                value, len(generated), context.seed, lambda rows: distance(generated[rows], real[rows])
            )
            floor = distance(training, real)
        protocol = self.stamp(
            figure,
            context.sample_stamp(),
            unit=_UNITS[figure],
            preprocessing=_PREPROCESSING,
            interval_method="95 %, jackknife leaving out one of ten disjoint blocks of both sides",
            floor_method="training against held-out items, evenly spaced",
            floor_samples=len(training),
        )
        return Score(value, interval, floor, protocol)

    def _mean(self, context: Context, figure: str, of: Callable[[Item], float]) -> Score:
        values, real = ([of(item) for item in side] for side in (context.generated_items, context.real_items))
        protocol = self.stamp(
            figure,
            context.sample_stamp(),
            unit=_UNITS[figure],
            interval_method="95 %, Student's t over samples",
            floor_method="the same figure of the held-out items",
            floor_samples=context.count,
        )
        return Score(float(np.mean(values)), of_mean(values), float(np.mean(real)), protocol)


def distance(left: np.ndarray, right: np.ndarray) -> float:
    """Root mean square over features of the difference of two sets' means, ``[n, D]`` and ``[m, D]``."""
    return float(np.sqrt(np.mean((left.mean(axis=0) - right.mean(axis=0)) ** 2)))


def _vectors(pictures: list[np.ndarray], of: Callable[[np.ndarray], Any]) -> np.ndarray:
    return np.array([of(picture) for picture in pictures], dtype=np.float64)


def _training(context: Context) -> list[np.ndarray]:
    train = context.prepared.train
    rows = spaced(len(train), context.count)
    return [decibels(item) for _, items in context.decoded(train, rows) for item in items]
