"""What one piece of music is like in a few numbers, after Yang and Lerch 2020; drums are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from miaobi.modalities._score import note_table

_OCTAVE = 12
_CONSONANT = frozenset({0, 3, 4, 5, 7, 8, 9})
"""Unisons, thirds, fourths, fifths and sixths, octaves aside."""


@dataclass(frozen=True, slots=True)
class Notes:
    """All notes of a piece, sorted by onset; onsets and durations in quarters.

    ``lines`` has the highest pitch of each onset of each track.
    """

    onset: np.ndarray
    duration: np.ndarray
    pitch: np.ndarray
    lines: list[np.ndarray]


@dataclass(frozen=True, slots=True)
class Feature:
    """One number or vector of a piece that has any note; ``None`` where it has no such figure.

    ``least`` is the narrowest that densities of it are smoothed.
    """

    unit: str
    least: float
    of: Callable[[Notes], Any]


def notes_of(piece: Any) -> Notes:
    """The notes of a canonical score."""
    tables = [note_table(track) for track in piece.tracks if not track.is_drum]
    table = np.concatenate([np.zeros((0, 4), np.int64), *tables])
    table = table[np.argsort(table[:, 0], kind="stable")]
    quarters = table[:, :2] / piece.ticks_per_quarter
    return Notes(quarters[:, 0], quarters[:, 1], table[:, 2], [_line(one) for one in tables])


def pitch_classes(notes: Notes) -> np.ndarray:
    """``[12]`` shares of the notes."""
    return np.bincount(notes.pitch % _OCTAVE, minlength=_OCTAVE) / len(notes.pitch)


def pitch_range(notes: Notes) -> float:
    """From the lowest note to the highest."""
    return float(np.ptp(notes.pitch))


def density(notes: Notes) -> float:
    """Notes over the time from the first onset to the last end."""
    return float(len(notes.onset) / ((notes.onset + notes.duration).max() - notes.onset.min()))


def onset_gap(notes: Notes) -> float | None:
    """Mean time from one onset to the next, of all voices together."""
    gaps = np.diff(np.unique(notes.onset))
    return float(gaps.mean()) if len(gaps) else None


def note_length(notes: Notes) -> float:
    """Mean duration."""
    return float(notes.duration.mean())


def step(notes: Notes) -> float | None:
    """Mean size of the steps from one onset of a voice to its next."""
    steps = np.concatenate([np.zeros(0), *(np.abs(np.diff(line)) for line in notes.lines)])
    return float(steps.mean()) if len(steps) else None


def consonance(notes: Notes) -> float | None:
    """Of the pairs of notes that sound together at some onset, counted at each, the share that are consonant."""
    found = together = 0
    for time in np.unique(notes.onset):
        sounding = notes.pitch[(notes.onset <= time) & (time < notes.onset + notes.duration)].tolist()
        intervals = [abs(one - other) % _OCTAVE for one, other in combinations(sounding, 2)]
        together += len(intervals)
        found += sum(interval in _CONSONANT for interval in intervals)
    return found / together if together else None


FEATURES = {
    "pitch_class": Feature("shares of the twelve pitch classes", 0.01, pitch_classes),
    "pitch_range": Feature("semitones from the lowest note to the highest", 0.5, pitch_range),
    "note_density": Feature("notes a quarter", 0.05, density),
    "onset_gap": Feature("mean quarters from one onset to the next", 0.02, onset_gap),
    "note_length": Feature("mean quarters", 0.02, note_length),
    "step": Feature("mean semitones from one onset of a voice to its next", 0.1, step),
    "consonance": Feature("share of pairs of notes sounding together that are consonant", 0.01, consonance),
}


def table(pieces: list[Any]) -> dict[str, np.ndarray]:
    """``float64 [pieces, width]`` for each of `FEATURES`; NaN where a piece has none."""
    read = [notes_of(piece) for piece in pieces]
    found = {}
    for name, feature in FEATURES.items():
        values = [feature.of(notes) if len(notes.pitch) else None for notes in read]
        width = _OCTAVE if name == "pitch_class" else 1
        found[name] = np.array([np.full(width, np.nan) if one is None else np.reshape(one, width) for one in values])
    return found


def _line(notes: np.ndarray) -> np.ndarray:
    notes = notes[np.lexsort((-notes[:, 2], notes[:, 0]))]
    line: np.ndarray = notes[np.diff(notes[:, 0], prepend=-1) != 0, 2]
    return line
