"""How much the notes of generated music are distributed like those of real music."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import around
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_LONGEST = 16
"""Quarters; longer notes count as this long."""
_WIDEST = 24
"""Semitones; wider intervals count as this wide."""
_STEPS = 4
"""Durations are counted in this many parts of a quarter."""
_UNITS = {
    "pitch_class_overlap": "histograms of 12 pitch classes",
    "duration_overlap": f"histograms of durations in {_STEPS}ths of a quarter",
    "interval_overlap": "histograms of semitones from a note to the next of its voice",
    "transition_overlap": "12 by 12 histograms of a note's pitch class and the next one's in its voice",
    "rhythm_overlap": "histograms of a note's duration and the next one's in its voice",
}
_LEAST = "least_overlap"
_DURATIONS = _LONGEST * _STEPS + 1
_SIZES = (12, _DURATIONS, 2 * _WIDEST + 1, 144, _DURATIONS**2)


class Statistics(Metric):
    """Overlap, 0 to 1, of what generated pieces and held-out ones have of each pitch class, duration and succession.

    Of all notes of a side together, by histogram intersection. ``least_overlap`` is the smallest of the five: music
    whose notes are right one by one but follow each other at random is not like the data. Noise is low in all, a
    constant piece in most; samples copied from the training part reach the floor, which `memorization` tells.
    """

    figures: ClassVar[dict[str, Direction]] = dict.fromkeys((_LEAST, *_UNITS), Direction.HIGHER)
    paper: ClassVar[str] = (
        'features of Yang and Lerch 2020, "On the evaluation of generative models in music"; histogram intersection as '
        'in Swain and Ballard 1991, "Color Indexing", in place of their kernel density estimates'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse what is not music, before any work."""
        super().check(family, modality)
        if modality.shown.name != "music":
            raise Unsupported("statistics of notes are of music", given=modality.name, cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        generated, real = _counted(context.generated_items), _counted(context.real_items)
        values = _overlaps(generated, real)
        errors = None if context.brief or context.count < 2 else _errors(generated, real)
        floors = None if context.brief else _overlaps(_counted(_training(context)), real)
        return {
            figure: self._score(
                context,
                figure,
                values[figure],
                None if errors is None else errors[figure],
                None if floors is None else floors[figure],
            )
            for figure in self.figures
        }

    def _score(self, context: Context, figure: str, value: float, error: float | None, floor: float | None) -> Score:
        protocol = self.stamp(
            figure,
            context.sample_stamp(),
            unit=f"intersection, 0 to 1, of {_UNITS.get(figure, 'the histograms that overlap least')}",
            interval_method="95 %, jackknife leaving out a generated and a held-out piece at a time",
            floor_method="the same figure of as many training pieces in the samples' place",
            floor_samples=len(context.training_rows),
        )
        interval = None if error is None else around(value, error, context.count - 1)
        return Score(value, interval, floor, protocol)


def _training(context: Context) -> list[Any]:
    return [item for _, items in context.decoded(context.prepared.train, context.training_rows) for item in items]


def _counted(pieces: Sequence[Any]) -> list[np.ndarray]:
    """Of each histogram, ``float64 [pieces, bins]``."""
    rows = [_of_piece(piece) for piece in pieces]
    return [np.stack([row[index] for row in rows]) for index in range(len(_SIZES))]


def _of_piece(piece: Any) -> list[np.ndarray]:
    found = [np.zeros(size) for size in _SIZES]
    for track in piece.tracks:
        notes = track.notes.numpy()
        order = np.lexsort((-notes["pitch"].astype(np.int64), notes["time"]))
        pitch = notes["pitch"].astype(np.int64)[order]
        quarters = notes["duration"].astype(np.float64)[order] / piece.ticks_per_quarter
        length = np.minimum(np.rint(quarters * _STEPS), _DURATIONS - 1).astype(np.int64)
        classes, jumps = pitch % 12, np.clip(np.diff(pitch), -_WIDEST, _WIDEST) + _WIDEST
        pairs = classes[:-1] * 12 + classes[1:], length[:-1] * _DURATIONS + length[1:]
        for counts, seen in zip(found, (classes, length, jumps, *pairs), strict=True):
            counts += np.bincount(seen, minlength=len(counts))
    return found


def _overlaps(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> dict[str, float]:
    totals = ((a.sum(0), b.sum(0)) for a, b in zip(left, right, strict=True))
    return _named([float(np.minimum(_shares(a), _shares(b)).sum()) for a, b in totals])


def _errors(left: Sequence[np.ndarray], right: Sequence[np.ndarray]) -> dict[str, float]:
    """Standard errors by the jackknife (Efron and Tibshirani 1993, chapter 11)."""
    count = len(left[0])
    per_histogram = []
    for a, b in zip(left, right, strict=True):
        without = _shares(a.sum(0) - a), _shares(b.sum(0) - b)
        per_histogram.append(np.minimum(*without).sum(1))
    columns = _named(per_histogram)
    return {
        name: float(np.sqrt((count - 1) / count * ((column - column.mean()) ** 2).sum()))
        for name, column in columns.items()
    }


def _named(overlaps: Sequence[Any]) -> dict[str, Any]:
    least: Any = np.minimum.reduce(overlaps)
    return {_LEAST: least if least.ndim else float(least), **dict(zip(_UNITS, overlaps, strict=True))}


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(-1, keepdims=True), 1)
