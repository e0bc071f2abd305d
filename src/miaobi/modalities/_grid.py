"""Notes as columns: at every step of the grid a token for each voice, so that voices are read side by side.

Hadjeres et al. 2017, "DeepBach: a steerable model for Bach chorales generation": a voice's token is a pitch where a
note begins, a hold while what sounded goes on, and a rest where silence begins. Two columns stand before the music,
equal in all voices: the time signature and the tempo. A voice sings one note at a time (the highest of an onset, until
the next begins), and a piece keeps its first time signature.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from miaobi.modalities._score import DEFAULT_METRE, DEFAULT_TEMPO, METRES, TEMPOS, Grid, note_table, tempo_of

HOLD, REST = 0, 1
FIRST_PITCH = 2
PITCHES = 128
_METRES = sorted(METRES)
_FIRST_METRE = FIRST_PITCH + PITCHES
_FIRST_TEMPO = _FIRST_METRE + len(_METRES)
HEADER = 2


class GridTokens:
    """A vocabulary fixed by its arguments; token ``i`` is of voice ``i % voices`` at step ``i // voices - 2``.

    Args:
        grid: what notes are rounded to; loudness is not written.
        voices: number of distinct voices.

    Attributes:
        streams: tokens of a column.
        hold: the token that says that a voice goes on.
        least: tokens of the shortest piece.
    """

    size = _FIRST_TEMPO + len(TEMPOS)
    """Number of distinct tokens."""
    hold = HOLD

    def __init__(self, grid: Grid, voices: int) -> None:
        self.streams, self.least = voices, (HEADER + 1) * voices
        self._velocity = int(grid.levels()[-1])

    def encode(self, score: Any) -> np.ndarray:
        """``int64 [L]`` tokens of a canonical score whose tracks' programs are voice numbers."""
        if not len(score.tracks):
            return np.zeros(0, dtype=np.int64)
        columns = np.full((HEADER + int(score.end()), self.streams), HOLD, dtype=np.int64)
        columns[0], columns[1] = _header(score)
        body = columns[HEADER:]
        body[0] = REST
        for track in score.tracks:
            _sing(body[:, int(track.program)], note_table(track))
        return columns.ravel()

    def decode(self, tokens: np.ndarray) -> tuple[dict[int, np.ndarray], list[tuple[int, int, int]], int]:
        """Notes ``[N, 4]`` by voice number, time signatures, and the tempo; what cannot be read is a hold."""
        columns = self._columns(tokens)
        metre, tempo = _read_header(columns[:HEADER])
        body = columns[HEADER:]
        notes = {voice: self._notes(body[:, voice]) for voice in range(self.streams)}
        return {voice: table for voice, table in notes.items() if len(table)}, [(0, *metre)], tempo

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The voice numbers and pitches of the notes in ``int64 [L]`` tokens, each ``[N]``."""
        places = np.flatnonzero(self._onsets(tokens))
        return places % self.streams, tokens[places] - FIRST_PITCH

    def transposed(self, tokens: np.ndarray, shift: int, drums: np.ndarray) -> np.ndarray:
        """A copy with pitches moved by ``shift`` semitones, except of the voices in ``drums [voices]`` bool."""
        places = np.flatnonzero(self._onsets(tokens))
        moved = tokens.copy()
        moved[places] += np.where(drums[places % self.streams], 0, shift)
        return moved

    def whole_notes(self, tokens: np.ndarray, limit: int) -> np.ndarray:
        """The first ``limit`` tokens at most, whole columns."""
        return tokens[: self.longest(limit)]

    def longest(self, limit: int) -> int:
        """Tokens in as many whole columns as ``limit`` tokens hold."""
        return limit - limit % self.streams

    def _onsets(self, tokens: np.ndarray) -> np.ndarray:
        places = np.arange(len(tokens)) >= HEADER * self.streams
        found: np.ndarray = places & (tokens >= FIRST_PITCH) & (tokens < _FIRST_METRE)
        return found

    def _columns(self, tokens: np.ndarray) -> np.ndarray:
        """``[columns, voices]``, the last one filled with holds."""
        count = -(-len(tokens) // self.streams)
        columns = np.full(count * self.streams, HOLD, dtype=np.int64)
        columns[: len(tokens)] = tokens
        return columns.reshape(count, self.streams)

    def _notes(self, line: np.ndarray) -> np.ndarray:
        """A voice's notes ``[N, 4]`` from its tokens ``[steps]``."""
        pitched = (line >= FIRST_PITCH) & (line < _FIRST_METRE)
        starts = np.flatnonzero(pitched | (line == REST))
        ends = np.append(starts[1:], len(line))
        table = np.stack([starts, ends - starts, line[starts] - FIRST_PITCH, np.full_like(starts, self._velocity)], 1)
        return table[pitched[starts]]


def _sing(line: np.ndarray, notes: np.ndarray) -> None:
    """Write a voice's notes into its column of holds."""
    notes = notes[np.lexsort((-notes[:, 2], notes[:, 0]))]
    notes = notes[np.diff(notes[:, 0], prepend=-1) != 0]
    starts, ends = notes[:, 0], notes[:, 0] + notes[:, 1]
    silent = ends < np.append(starts[1:], len(line))
    line[ends[silent]] = REST
    line[starts] = FIRST_PITCH + notes[:, 2]


def _header(score: Any) -> tuple[int, int]:
    metres = [(int(m.numerator), int(m.denominator)) for m in score.time_signatures[:1]]
    metre = _METRES.index((metres or [DEFAULT_METRE])[0])
    return _FIRST_METRE + metre, _FIRST_TEMPO + TEMPOS.index(tempo_of(score))


def _read_header(columns: np.ndarray) -> tuple[tuple[int, int], int]:
    """The time signature in the first column and the tempo in the second, of the highest voice that says one."""
    metres = [token for token in columns[:1].ravel().tolist() if _FIRST_METRE <= token < _FIRST_TEMPO]
    tempos = [token for token in columns[1:].ravel().tolist() if _FIRST_TEMPO <= token < GridTokens.size]
    metre = _METRES[metres[0] - _FIRST_METRE] if metres else DEFAULT_METRE
    return metre, TEMPOS[tempos[0] - _FIRST_TEMPO] if tempos else DEFAULT_TEMPO
