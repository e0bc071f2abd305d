"""The four voices of part writing: where each can sing, and the intervals that its rules are about.

Ranges are those usual for amateur choirs in harmony textbooks (Kostka and Payne, "Tonal Harmony", chapter 5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miaobi.modalities._score import note_table

RANGES: Mapping[str, tuple[int, int]] = {"soprano": (60, 79), "alto": (55, 74), "tenor": (48, 67), "bass": (40, 60)}
"""Lowest and highest MIDI pitch of each voice, both included (C4 to G5, G3 to D5, C3 to G4, E2 to C4)."""
OCTAVE = 12
"""Semitones; a step of more is a wide leap."""
FIFTH = 7


def share_in_range(score: Any, ranges: Mapping[str, tuple[int, int]] = RANGES) -> dict[str, float]:
    """For each voice the share of its notes within its range, 0 to 1, and of all notes as ``all``.

    The tracks of ``score`` are the voices in the order of ``ranges``. A voice without notes is left out; notes of
    tracks beyond the known voices count as outside.
    """
    inside, total, shares = 0, 0, {}
    names = list(ranges)
    for number, track in enumerate(score.tracks):
        pitches = note_table(track)[:, 2]
        total += len(pitches)
        if number < len(names) and len(pitches):
            low, high = ranges[names[number]]
            within = int(((pitches >= low) & (pitches <= high)).sum())
            inside += within
            shares[names[number]] = within / len(pitches)
    return shares | ({"all": inside / total} if total else {})
