"""Rules of part writing while four voices are written on a grid: which tokens would break none of them.

The rules are those that the metric ``harmony`` counts, with its ranges and intervals: parallel fifths and octaves,
crossed voices and voices out of range, all three on quarter-note beats, and leaps of more than an octave.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from miaobi.modalities._grid import FIRST_PITCH, HEADER, PITCHES, REST, GridTokens
from miaobi.modalities._voices import FIFTH, OCTAVE, RANGES

VOICES = len(RANGES)
_SILENT = -1
_PITCH = np.arange(PITCHES)
_IN_RANGE = [(low <= _PITCH) & (high >= _PITCH) for low, high in RANGES.values()]
_INTERVALS = np.abs(_PITCH[:, None] - _PITCH) % OCTAVE
_OTHER = {interval: interval != _INTERVALS for interval in (FIFTH, 0)}
"""By interval ``[128, 128]``: whether two pitches are not that far apart, octaves aside."""


class PartWriting:
    """The rules, for soprano, alto, tenor and bass as the four voices of `GridTokens`.

    Args:
        resolution: steps a quarter note.
    """

    def __init__(self, resolution: int) -> None:
        self.resolution = resolution

    def guard(self, size: int, known: Sequence[int | None] = ()) -> PartWritingGuard:
        """For one piece from its first token; ``known`` are its tokens as far as they are given, else ``None``."""
        return PartWritingGuard(self.resolution, size, known)


class PartWritingGuard:
    """One piece's place in the rules.

    A voice is held against those above it in its column and those below that are given. A note keeps within its
    voice's range, within an octave of the voice's last one, and crosses no voice; on a beat neither it nor what is held
    makes parallels, and what is held is in range and crosses none. Between beats anything may be held.

    A preference that never ends in a dead end: silence breaks no rule, so where no pitch will do a voice rests. Where
    tokens are given, all are allowed: whoever gives them sees to them, and breaches among given voices stay. An end
    comes only after a whole column.

    Args:
        resolution: steps a quarter note.
        size: number of tokens that may be drawn; one past the grid's own ends the piece.
        known: the piece's tokens as far as they are given, else ``None``.

    Attributes:
        finished: never: any piece may go on.
    """

    finished = False

    def __init__(self, resolution: int, size: int, known: Sequence[int | None]) -> None:
        self._resolution, self._known, self._at = resolution, known, 0
        self._all = np.ones(size, dtype=bool)
        self._unruled = np.ones(size, dtype=bool)
        self._unruled[GridTokens.size :] = False
        self._sounding = [_SILENT] * VOICES
        self._last_note = [_SILENT] * VOICES
        self._last_beat = [_SILENT] * VOICES

    def allowed(self) -> np.ndarray:
        """Bool ``[size]``: which tokens may be drawn now."""
        column, voice = divmod(self._at, VOICES)
        if column < HEADER or self._given(self._at) is not None:
            return self._all
        on_beat = (column - HEADER) % self._resolution == 0
        pitches = self._pitches(voice, on_beat)
        sounding = self._sounding[voice]
        holds = not on_beat or sounding == _SILENT or bool(pitches[sounding])
        self._keep_near(pitches, voice)
        allowed = (self._unruled if voice else self._all).copy()
        # What is no pitch, hold or rest is read as a hold.
        allowed[: GridTokens.size] = holds
        allowed[REST] = True
        allowed[FIRST_PITCH : FIRST_PITCH + PITCHES] = pitches
        return allowed

    def admit(self, token: int) -> bool:
        """Take a drawn or given token: always true."""
        column, voice = divmod(self._at, VOICES)
        self._at += 1
        if column < HEADER:
            return True
        self._sounding[voice] = _after(token, self._sounding[voice])
        if FIRST_PITCH <= token < FIRST_PITCH + PITCHES:
            self._last_note[voice] = self._sounding[voice]
        if voice == VOICES - 1 and (column - HEADER) % self._resolution == 0:
            self._last_beat = list(self._sounding)
        return True

    def known(self) -> int:
        """A token that is sure to be admitted."""
        return REST

    def _given(self, place: int) -> int | None:
        return self._known[place] if place < len(self._known) else None

    def _pitches(self, voice: int, on_beat: bool) -> np.ndarray:
        """Bool ``[128]``: at which pitches the voice is in range and crosses none and, on a beat, parallels none."""
        pitches = _IN_RANGE[voice].copy()
        for other, now in self._beside(voice):
            if other < voice:
                pitches[now + 1 :] = False
            else:
                pitches[:now] = False
            if on_beat:
                self._part_ways(pitches, voice, other, now)
        return pitches

    def _beside(self, voice: int) -> Iterator[tuple[int, int]]:
        """The other voices whose pitch at this step is known, and the pitch: those above, and those that are given."""
        first = self._at - voice
        for other, sounding in enumerate(self._sounding):
            if other > voice:
                token = self._given(first + other)
                sounding = _SILENT if token is None else _after(token, sounding)
            if other != voice and sounding != _SILENT:
                yield other, sounding

    def _part_ways(self, pitches: np.ndarray, voice: int, other: int, now: int) -> None:
        """Leave out what would move as ``other`` does to ``now``, a fifth or octave apart before and after."""
        mine, its = self._last_beat[voice], self._last_beat[other]
        if _SILENT in (mine, its):
            return
        interval = abs(mine - its) % OCTAVE
        if interval not in _OTHER or now == its:
            return
        same_way = slice(mine + 1, None) if now > its else slice(mine)
        pitches[same_way] &= _OTHER[interval][now, same_way]

    def _keep_near(self, pitches: np.ndarray, voice: int) -> None:
        """Leave out leaps from the voice's last note."""
        last = self._last_note[voice]
        if last != _SILENT:
            pitches[: max(last - OCTAVE, 0)] = False
            pitches[last + OCTAVE + 1 :] = False


def _after(token: int, sounding: int) -> int:
    """What a voice sounds from a token on, where ``sounding`` did before it."""
    if FIRST_PITCH <= token < FIRST_PITCH + PITCHES:
        return token - FIRST_PITCH
    return _SILENT if token == REST else sounding
