"""Which voices a data set has: the numbers that stand for them in tokens, and the range that each one sings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from miaobi.errors import CorruptFile, DataError
from miaobi.modalities._score import MAX_VOICES, Grid, assemble, note_table, tempo_of

DRUMS = 128
"""Stands for the drum kit among General MIDI's programs 0 to 127."""
_FAMILY = 8  # General MIDI groups its programs by eights


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice.

    Attributes:
        program: General MIDI program counted from 0, or `DRUMS`.
        rank: its place among a piece's voices of that program, from high to low.
        low: lowest pitch in training; ``high``: highest. The whole of MIDI where training has none.
    """

    program: int
    rank: int
    low: int = 0
    high: int = 127


class Voicing:
    """The voices in the order of their numbers."""

    def __init__(self, voices: Sequence[Voice]) -> None:
        self._voices = list(voices)
        self._numbers = {(voice.program, voice.rank): number for number, voice in enumerate(self._voices)}
        self.drums = np.array([voice.program == DRUMS for voice in self._voices])
        """``[voices]`` bool."""
        self._low = np.array([voice.low for voice in self._voices])
        self._high = np.array([voice.high for voice in self._voices])

    def __len__(self) -> int:
        return len(self._voices)

    @classmethod
    def of(cls, items: Iterable[Any], programs: Sequence[int]) -> Voicing:
        """The voices of canonical ``items``, at most the 128 most frequent, or of ``programs`` where there are any.

        Raises:
            DataError: neither items nor programs name a voice.
        """
        seen: Counter[tuple[int, int]] = Counter()
        lows: dict[tuple[int, int], int] = {}
        highs: dict[tuple[int, int], int] = {}
        for item in items:
            for key, track in _keyed(item):
                pitches = note_table(track)[:, 2]
                seen[key] += 1
                lows[key] = min(lows.get(key, 127), int(pitches.min()))
                highs[key] = max(highs.get(key, 0), int(pitches.max()))
        keys = _ranked(programs) or sorted(key for key, _ in seen.most_common(MAX_VOICES))
        if not keys:
            raise DataError("no music to learn the voices from", cure="name the modality's programs, or give it items")
        return cls([Voice(*key, lows.get(key, 0), highs.get(key, 127)) for key in keys])

    def numbered(self, item: Any, grid: Grid) -> Any:
        """The item with voice numbers as its tracks' programs, ascending."""
        tables: dict[int, list[np.ndarray]] = {}
        for key, track in _keyed(item):
            tables.setdefault(self._number(key), []).append(note_table(track))
        voices = [(False, number, np.concatenate(tables[number])) for number in sorted(tables)]
        metres = [(int(m.time), int(m.numerator), int(m.denominator)) for m in item.time_signatures]
        return assemble(voices, metres, tempo_of(item), grid)

    def named(self, notes: Mapping[int, np.ndarray]) -> list[tuple[bool, int, np.ndarray]]:
        """``(drum, program, notes)`` of the voices that have notes, in the order of their numbers."""
        programs = [self._voices[number].program for number in sorted(notes)]
        tables = [notes[number] for number in sorted(notes)]
        return [
            (program == DRUMS, program % DRUMS, table)
            for program, table in zip(programs, tables, strict=True)
            if len(table)
        ]

    def shifts(self, voices: np.ndarray, pitches: np.ndarray) -> tuple[int, int]:
        """The lowest (at most 0) and highest (at least 0) transposition that leaves no note outside its voice's range.

        Args:
            voices: ``[N]`` voice numbers of notes; drums are not transposed, so they set no limit.
            pitches: ``[N]``.
        """
        tuned = ~self.drums[voices]
        down, up = (self._low[voices] - pitches)[tuned], (self._high[voices] - pitches)[tuned]
        return min(int(down.max(initial=-127)), 0), max(int(up.min(initial=127)), 0)

    def to_json(self) -> dict[str, Any]:
        """A mapping that `from_json` reads back."""
        return {"voices": [asdict(voice) for voice in self._voices]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Voicing:
        """The inverse of `to_json`.

        Raises:
            CorruptFile: not what `to_json` made.
        """
        try:
            voices = [Voice(**{name: int(value) for name, value in voice.items()}) for voice in data["voices"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            voices = []
        if not 0 < len(voices) <= MAX_VOICES or any(not _possible(voice) for voice in voices):
            raise CorruptFile("the saved voices of a music model are damaged", given=data, cure="restore its folder")
        return cls(voices)

    def _number(self, key: tuple[int, int]) -> int:
        """The voice's number, else of the nearest: drums to drums, then by family, program and rank."""
        if key in self._numbers:
            return self._numbers[key]
        program, rank = key

        def distance(other: tuple[int, int]) -> tuple[bool, bool, int, int]:
            drums = (other[0] == DRUMS) != (program == DRUMS)
            family = other[0] // _FAMILY != program // _FAMILY
            return drums, family, abs(other[0] - program), abs(other[1] - rank)

        return self._numbers[min(self._numbers, key=distance)]


def _keyed(item: Any) -> Iterator[tuple[tuple[int, int], Any]]:
    """Each track that has notes with its (program, rank)."""
    ranks: Counter[int] = Counter()
    for track in item.tracks:
        if len(track.notes):
            program = DRUMS if track.is_drum else int(track.program)
            yield (program, ranks[program]), track
            ranks[program] += 1


def _ranked(programs: Sequence[int]) -> list[tuple[int, int]]:
    return [(program, list(programs[:at]).count(program)) for at, program in enumerate(programs)]


def _possible(voice: Voice) -> bool:
    return 0 <= voice.program <= DRUMS and 0 <= voice.rank < MAX_VOICES and 0 <= voice.low <= voice.high <= 127
