"""What notes are counted for the statistics of music, after Yang and Lerch 2020."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

_LONGEST = 16
"""Quarters; longer notes count as this long."""
_WIDEST = 24
"""Semitones; wider intervals count as this wide."""
_STEPS = 4
"""Durations are counted in this many parts of a quarter."""

UNITS = {
    "pitch_class_overlap": "pitch classes",
    "duration_overlap": f"durations in {_STEPS}ths of a quarter, up to {_LONGEST} quarters",
    "interval_overlap": f"semitones from a note to the next of its voice, up to {_WIDEST}",
    "transition_overlap": "pitch classes of a note and the next of its voice",
    "rhythm_overlap": "durations of a note and the next of its voice",
}


def counted(piece: Any) -> list[Counter[Any]]:
    """How often each thing comes in a piece, for each of `UNITS`."""
    found: list[Counter[Any]] = [Counter() for _ in UNITS]
    for track in piece.tracks:
        notes = track.notes.numpy()
        pitch = notes["pitch"].astype(np.int64)
        order = np.lexsort((-pitch, notes["time"]))
        quarters = notes["duration"].astype(np.float64)[order] / piece.ticks_per_quarter
        lengths = np.minimum(np.rint(quarters * _STEPS), _LONGEST * _STEPS).astype(np.int64).tolist()
        classes = (pitch[order] % 12).tolist()
        intervals = np.clip(np.diff(pitch[order]), -_WIDEST, _WIDEST).tolist()
        columns: tuple[Iterable[Any], ...] = (classes, lengths, intervals, _pairs(classes), _pairs(lengths))
        for counts, column in zip(found, columns, strict=True):
            counts.update(column)
    return found


def _pairs(column: list[int]) -> Iterable[tuple[int, int]]:
    return itertools.pairwise(column)
