"""Rules of four-part writing, counted in one piece beat by beat."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from miaobi.modalities._score import note_table
from miaobi.modalities._voices import FIFTH, OCTAVE, RANGES

VOICES = len(RANGES)
RULES = ("parallel_fifths", "parallel_octaves", "voice_crossings", "out_of_range", "wide_leaps")
_SILENT = -1


def counted(piece: Any) -> np.ndarray:
    """``float64 [6]``: how often the piece breaks each of `RULES`, and its chords.

    A beat is a quarter note; a chord is a beat on which at least two of the first four voices sound.
    """
    beats = on_beats(piece)
    four = beats[:, :VOICES]
    chords = int(((four != _SILENT).sum(axis=1) > 1).sum())
    broken = [parallels(four, FIFTH), parallels(four, 0), crossings(four), outside(beats), leaps(piece)]
    return np.array([*broken, chords], dtype=np.float64)


def on_beats(piece: Any) -> np.ndarray:
    """``int64 [beats, tracks]``: the pitch that sounds in each track on each beat, -1 for silence.

    Of several at once in one track, the one that began last; of one onset, the highest.
    """
    tables = [note_table(track) for track in piece.tracks]
    quarter = int(piece.ticks_per_quarter)
    end = max((int((table[:, 0] + table[:, 1]).max()) for table in tables if len(table)), default=0)
    pitches = np.full((-(-end // quarter), len(tables)), _SILENT, dtype=np.int64)
    for voice, table in enumerate(tables):
        for onset, duration, pitch, _ in table[np.lexsort((table[:, 2], table[:, 0]))].tolist():
            pitches[-(-onset // quarter) : -(-(onset + duration) // quarter), voice] = pitch
    return pitches


def parallels(pitches: np.ndarray, interval: int) -> int:
    """Pairs of voices that are ``interval`` semitones apart, octaves aside, on two beats in a row, and both move the
    same way between them.
    """
    found = 0
    for high, low in _pairs(pitches):
        sounding = (high != _SILENT) & (low != _SILENT)
        apart = sounding & (np.abs(high - low) % OCTAVE == interval)
        together = np.diff(high) * np.diff(low) > 0
        found += int((apart[:-1] & apart[1:] & together).sum())
    return found


def crossings(pitches: np.ndarray) -> int:
    """Pairs of voices, counted on each beat, of which the lower sounds above the higher."""
    return sum(int(((high != _SILENT) & (low != _SILENT) & (high < low)).sum()) for high, low in _pairs(pitches))


def outside(pitches: np.ndarray) -> int:
    """Voices outside their ranges, counted on each beat.

    Where there are fewer tracks than voices, they are taken to be those that suit them best, from high to low; tracks
    beyond the fourth are no voice, and outside.
    """
    limits = np.array(list(RANGES.values()))
    count = min(pitches.shape[1], VOICES)
    extra = int((pitches[:, VOICES:] != _SILENT).sum())
    choices = combinations(range(VOICES), count)
    return extra + min(_outside(pitches[:, :count], limits[list(chosen)]) for chosen in choices)


def leaps(piece: Any) -> int:
    """Steps of more than an octave from one onset of a voice to its next, rests aside; the highest note of an onset."""
    return sum(int((np.abs(np.diff(_line(note_table(track)))) > OCTAVE).sum()) for track in list(piece.tracks)[:VOICES])


def has_four_voices(pieces: Sequence[Any]) -> bool:
    """Whether any piece has exactly four tracks."""
    return any(len(piece.tracks) == VOICES for piece in pieces)


def _pairs(pitches: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(combinations(pitches.T, 2))


def _outside(pitches: np.ndarray, limits: np.ndarray) -> int:
    low, high = limits.reshape(-1, 2).T
    return int(((pitches != _SILENT) & ((pitches < low) | (pitches > high))).sum())


def _line(notes: np.ndarray) -> np.ndarray:
    """The highest pitch of each onset, in order."""
    notes = notes[np.lexsort((-notes[:, 2], notes[:, 0]))]
    first = np.diff(notes[:, 0], prepend=-1) != 0
    line: np.ndarray = notes[first, 2]
    return line
