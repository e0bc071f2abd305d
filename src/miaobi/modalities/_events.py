"""Notes as tokens, through miditok: one stream for all voices.

REMI (Huang and Yang 2020, "Pop Music Transformer") writes bars and positions in them; TSD writes the time between
notes. miditok names a note's voice, pitch, loudness (where the grid has several) and duration by a token each; the
first two are always neighbours and are fused into one here, which makes a four-part chorale a third shorter.
"""

from __future__ import annotations

from typing import Any, Literal

import miditok
import numpy as np

from miaobi.modalities._score import DEFAULT_TEMPO, METRES, TEMPOS, Grid, note_table, tempo_of

EventsName = Literal["remi", "tsd"]
_TOKENIZERS = {"remi": miditok.REMI, "tsd": miditok.TSD}
_PITCHES = 128


class NoteTokens:
    """A vocabulary fixed by its arguments: time, loudness, duration, metre and tempo, then the pitches of each voice.

    Args:
        name: of the tokenizer.
        grid: what notes are rounded to.
        voices: number of distinct voices.
    """

    streams, hold = 1, None

    def __init__(self, name: EventsName, grid: Grid, voices: int) -> None:
        self._tokenizer = _TOKENIZERS[name](_config(grid, voices))
        self._resolution = grid.resolution
        vocabulary: dict[str, int] = self._tokenizer.vocab
        self._voice_ids = np.array([vocabulary[f"Program_{voice}"] for voice in range(voices)])
        self._pitch_ids = np.array([vocabulary[f"Pitch_{pitch}"] for pitch in range(_PITCHES)])
        # By name, because miditok's vocabulary also has a pitch 128 that no note can have.
        fused = {number for name, number in vocabulary.items() if name.startswith(("Program_", "Pitch_"))}
        self._other_ids = np.array(sorted(set(vocabulary.values()) - fused - set(self._tokenizer.special_tokens_ids)))
        self._first_note = len(self._other_ids)
        self.size = self._first_note + voices * _PITCHES
        """Number of distinct tokens."""

    def encode(self, score: Any) -> np.ndarray:
        """``int64 [L]`` tokens of a canonical score whose tracks' programs are voice numbers."""
        if not len(score.tracks):
            return np.zeros(0, dtype=np.int64)
        ids = np.asarray(self._tokenizer.encode(score).ids, dtype=np.int64)
        pitch = _places(ids, self._pitch_ids)
        voice = np.roll(_places(ids, self._voice_ids), 1)
        note = self._first_note + voice * _PITCHES + pitch
        tokens = np.where(pitch >= 0, note, _places(ids, self._other_ids))
        return tokens[tokens >= 0]

    def decode(self, tokens: np.ndarray) -> tuple[dict[int, np.ndarray], list[tuple[int, int, int]], int]:
        """Notes ``[N, 4]`` by voice number, time signatures, and the tempo; what cannot be read is left out."""
        tokens = tokens[(tokens >= 0) & (tokens < self.size)]
        if not len(tokens):
            return {}, [], DEFAULT_TEMPO
        score = self._tokenizer.decode(self._spelt_out(tokens).tolist())
        # miditok's tick is finer than the grid's: time signatures in eighths are known to it.
        ratio = score.ticks_per_quarter // self._resolution
        notes = {int(track.program): note_table(track) for track in score.tracks}
        for table in notes.values():
            table[:, :2] //= ratio
            table[:, 1] = np.maximum(table[:, 1], 1)
        metres = [(int(m.time) // ratio, int(m.numerator), int(m.denominator)) for m in score.time_signatures]
        return notes, metres, tempo_of(score)

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The voice numbers and pitches of the notes in ``int64 [L]`` tokens, each ``[N]``."""
        voices, pitches = np.divmod(tokens[tokens >= self._first_note] - self._first_note, _PITCHES)
        return voices, pitches

    def transposed(self, tokens: np.ndarray, shift: int, drums: np.ndarray) -> np.ndarray:
        """A copy with pitches moved by ``shift`` semitones, except of the voices in ``drums [voices]`` bool."""
        voices, _ = self.notes(tokens)
        moved = tokens.copy()
        moved[tokens >= self._first_note] += np.where(drums[voices], 0, shift)
        return moved

    def whole_notes(self, tokens: np.ndarray, limit: int) -> np.ndarray:
        """The first ``limit`` tokens at most, cut before a note."""
        if len(tokens) <= limit:
            return tokens
        notes = np.flatnonzero(tokens[: limit + 1] >= self._first_note)
        return tokens[: notes[-1] if len(notes) else limit]

    def longest(self, limit: int) -> int:
        """Tokens of a piece that may have ``limit``."""
        return limit

    def _spelt_out(self, tokens: np.ndarray) -> np.ndarray:
        """The ids of miditok: two for a note's voice and pitch."""
        note = tokens >= self._first_note
        ids = np.repeat(self._other_ids[np.where(note, 0, tokens)], np.where(note, 2, 1))
        at = np.flatnonzero(note) + np.arange(int(note.sum()))
        voices, pitches = self.notes(tokens)
        ids[at], ids[at + 1] = self._voice_ids[voices], self._pitch_ids[pitches]
        return ids


def _places(ids: np.ndarray, among: np.ndarray) -> np.ndarray:
    """``[L]`` the place of each id in ``among``, -1 for those that are not in it."""
    table = np.full(int(max(ids.max(initial=0), among.max())) + 1, -1, dtype=np.int64)
    table[among] = np.arange(len(among))
    return table[ids]


def _config(grid: Grid, voices: int) -> miditok.TokenizerConfig:
    metres: dict[int, list[int]] = {}
    for beats, unit in sorted(METRES):
        metres.setdefault(unit, []).append(beats)
    config = miditok.TokenizerConfig(
        # A beat of x/8 is half a quarter, so the longest note has twice as many of them.
        beat_res={(0, 2 * grid.longest): grid.resolution},
        num_velocities=grid.velocities,
        special_tokens=["PAD"],
        use_velocities=grid.velocities > 1,
        use_programs=True,
        programs=list(range(voices)),
        use_note_duration_programs=list(range(voices)),
        use_pitchdrum_tokens=False,
        use_time_signatures=True,
        time_signature_range=metres,
        use_tempos=True,
        num_tempos=len(TEMPOS),
        tempo_range=(TEMPOS[0], TEMPOS[-1]),
        encode_ids_split="no",
    )
    # Its check allows no upper bound, which is excluded, above 127; MIDI's highest note is 127.
    config.pitch_range = (0, _PITCHES)
    return config
