"""A score as a text of melodic steps, so that what finds near-duplicate texts finds near-duplicate music.

Each step of a voice, from a note to the next, is one character: its interval in semitones and the time between the
onsets. Pitches themselves are not written, so a piece and its transposition are the same text; nor are programs, so
another orchestration is too. A tune harmonised anew shares one voice's steps in four: similar, but no duplicate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from miaobi.modalities._score import note_table

_FIRST = 0x10000
_LONGEST = (1 << 11) - 1
_BETWEEN_VOICES = "\n\n\n\n"


def steps(score: Any) -> str:
    """The steps of every voice in turn, highest voice first as `canonical` orders them."""
    return _BETWEEN_VOICES.join(_voice_steps(note_table(track)) for track in score.tracks)


def _voice_steps(notes: np.ndarray) -> str:
    interval = np.diff(notes[:, 2]) + 128
    wait = np.minimum(np.diff(notes[:, 0]), _LONGEST)
    return "".join(map(chr, (_FIRST + interval * (_LONGEST + 1) + wait).tolist()))
