"""Scores as the music modality keeps them: on a grid, bounded, in one order, and as bytes.

A canonical score holds what the tokens hold and nothing else: notes on a grid of ``resolution`` ticks a quarter, one
tempo, and time signatures that change at bar lines. Its tracks are **voices**: one voice never holds two notes of one
pitch at one time, so nothing merges when it is written and read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from symusic import Note, Score, Tempo, TimeSignature, Track

from miaobi.errors import CorruptFile, UnreadableItem

MAX_NOTES = 100_000
MAX_VOICES = 128
MAX_QUARTERS = 20_000
"""Longest piece; more than three hours at 100 quarters a minute."""
TEMPOS = range(40, 255, 5)
"""Quarters a minute that a score can have; others become the nearest."""
DEFAULT_TEMPO = 120
DEFAULT_METRE = (4, 4)
METRES = frozenset([(beats, 4) for beats in range(1, 9)] + [(beats, 8) for beats in (3, 5, 6, 7, 9, 12)])
"""Time signatures that a score can have; n/2 becomes 2n/4 and others keep the signature before them."""
_MAGIC = 0x4F49424D  # "MBIO", little-endian


@dataclass(frozen=True, slots=True)
class Grid:
    """What notes are rounded to.

    Attributes:
        resolution: ticks a quarter note, even.
        longest: longest note, in quarters; longer ones are cut.
        velocities: number of loudness levels; with 1 all notes are equally loud.
    """

    resolution: int
    longest: int
    velocities: int

    def levels(self) -> np.ndarray:
        """MIDI velocities (1 to 127) that a note can have, ascending."""
        if self.velocities == 1:
            return np.array([100])
        return np.linspace(0, 127, self.velocities + 1, dtype=np.int64)[1:]


def note_table(track: Any) -> np.ndarray:
    """``int64 [N, 4]``: onset and duration in ticks, pitch and velocity, in the order of the track."""
    columns = track.notes.numpy()
    return np.stack([columns[name].astype(np.int64) for name in ("time", "duration", "pitch", "velocity")], axis=1)


def make_track(program: int, drum: bool, notes: np.ndarray, name: str = "") -> Any:
    """A track of a ``[N, 4]`` note table."""
    track: Any = Track(name, program, drum)
    columns = notes.astype(np.int32)
    pitch, velocity = columns[:, 2].astype(np.int8), columns[:, 3].astype(np.int8)
    track.notes = Note.from_numpy(columns[:, 0].copy(), columns[:, 1].copy(), pitch, velocity)
    return track


def tempo_of(score: Any) -> int:
    """The first tempo, in quarters a minute, as the nearest of `TEMPOS`."""
    given = float(score.tempos[0].qpm) if len(score.tempos) else float(DEFAULT_TEMPO)
    return min(TEMPOS, key=lambda tempo: abs(tempo - given))


def seconds(score: Any) -> float:
    """Duration in seconds, from time zero to the last note's end."""
    return float(score.end()) / score.ticks_per_quarter * 60 / tempo_of(score)


def canonical(score: Any, grid: Grid) -> Any:
    """A copy on ``grid``: rounded, bounded, voices ordered by program and then from high to low, drums last.

    Controllers, pitch bends, pedals, lyrics, names, key signatures and tempo changes are left out.

    Raises:
        UnreadableItem: no notes, or more notes, voices or quarters than allowed.
    """
    _check_bounds(score)
    voices = []
    for track in score.tracks:
        notes = _on_grid(note_table(track), score.ticks_per_quarter, grid)
        if len(notes):
            voices.append((bool(track.is_drum), 0 if track.is_drum else int(track.program) % 128, notes))
    if not voices:
        raise UnreadableItem("no notes in it")
    voices.sort(key=lambda voice: (voice[0], voice[1], -float(voice[2][:, 2].mean()), voice[2].tobytes()))
    metres = [
        (_rescaled(int(m.time), score.ticks_per_quarter, grid), int(m.numerator), int(m.denominator))
        for m in score.time_signatures
    ]
    return assemble(voices, metres, tempo_of(score), grid)


def only(score: Any, places: Sequence[int], grid: Grid) -> Any:
    """A canonical score's voices at ``places``, those that it has.

    Raises:
        UnreadableItem: it has none of them.
    """
    chosen = [score.tracks[place] for place in sorted(set(places)) if place < len(score.tracks)]
    if not chosen:
        raise UnreadableItem("no such voice", given=f"{len(score.tracks)} voices", allowed=f"one of {list(places)}")
    metres = [(int(m.time), int(m.numerator), int(m.denominator)) for m in score.time_signatures]
    voices = [(bool(track.is_drum), int(track.program), note_table(track)) for track in chosen]
    return assemble(voices, metres, tempo_of(score), grid)


def assemble(
    voices: list[tuple[bool, int, np.ndarray]], metres: list[tuple[int, int, int]], tempo: int, grid: Grid
) -> Any:
    """A canonical score of ``(drum, program, notes)`` voices on the grid, in the order given."""
    score: Any = Score(grid.resolution)
    for drum, program, notes in voices:
        score.tracks.append(make_track(program, drum, _separated(notes, grid)))
    end = max((int((notes[:, 0] + notes[:, 1]).max()) for _, _, notes in voices), default=0)
    for tick, beats, unit in at_bar_lines(metres, grid.resolution, end):
        score.time_signatures.append(TimeSignature(tick, beats, unit))
    score.tempos.append(Tempo(0, tempo))
    return score


def at_bar_lines(metres: list[tuple[int, int, int]], resolution: int, end: int) -> list[tuple[int, int, int]]:
    """Time signatures ``(tick, beats, unit)`` that a score can have, each moved to a bar line, without repeats."""
    placed = [(0, *DEFAULT_METRE)]
    for tick, beats, unit in sorted(metres):
        metre = (beats * 2, 4) if unit == 2 else (beats, unit)
        start, *running = placed[-1]
        bar = running[0] * 4 * resolution // running[1]
        tick = start + -(-max(tick - start, 0) // bar) * bar
        if metre not in METRES or tick >= max(end, 1):
            continue
        if tick == start:
            placed.pop()
        if not placed or placed[-1][1:] != metre:
            placed.append((tick, *metre))
    return placed


def pack(score: Any) -> bytes:
    """A canonical score as little-endian ``int32``: a header, its metres, then each voice with its notes."""
    metres = [(m.time, m.numerator, m.denominator) for m in score.time_signatures]
    tables = [(track, note_table(track)) for track in score.tracks]
    numbers = [_MAGIC, score.ticks_per_quarter, tempo_of(score), len(metres), len(tables)]
    numbers += [number for metre in metres for number in metre]
    parts = [np.array(numbers, dtype="<i4")]
    for track, notes in tables:
        parts += [np.array([track.program, track.is_drum, len(notes)], dtype="<i4"), notes.astype("<i4").ravel()]
    return np.concatenate(parts).tobytes()


def unpack(data: bytes) -> Any:
    """The inverse of `pack`.

    Raises:
        CorruptFile: not what `pack` wrote.
    """
    try:
        return _unpack(np.frombuffer(data, dtype="<i4").astype(np.int64))
    except (ValueError, IndexError, OverflowError, TypeError) as error:
        raise CorruptFile(f"a packed score is damaged: {error}", cure="delete the cache and prepare it again") from None


def _unpack(numbers: np.ndarray) -> Any:
    magic, resolution, tempo, metres, voices = numbers[:5].tolist()
    if magic != _MAGIC or not 0 < resolution <= 960 or tempo not in TEMPOS:
        raise ValueError("wrong header")
    score: Any = Score(resolution)
    score.tempos.append(Tempo(0, tempo))
    at = 5
    for tick, beats, unit in _taken(numbers, at, 3 * metres).reshape(-1, 3).tolist():
        score.time_signatures.append(TimeSignature(tick, beats, unit))
    at += 3 * metres
    for _ in range(voices):
        program, drum, count = _taken(numbers, at, 3).tolist()
        score.tracks.append(make_track(program, bool(drum), _taken(numbers, at + 3, 4 * count).reshape(-1, 4)))
        at += 3 + 4 * count
    if at != len(numbers):
        raise ValueError("wrong length")
    return score


def _taken(numbers: np.ndarray, at: int, count: int) -> np.ndarray:
    if count < 0 or at + count > len(numbers):
        raise ValueError("cut short")
    return numbers[at : at + count]


def _check_bounds(score: Any) -> None:
    quarters = score.end() / max(score.ticks_per_quarter, 1)
    limits = {
        "notes": (score.note_num(), MAX_NOTES),
        "voices": (len(score.tracks), MAX_VOICES),
        "quarters": (quarters, MAX_QUARTERS),
    }
    for what, (given, allowed) in limits.items():
        if given > allowed:
            raise UnreadableItem(f"too many {what}", given=given, allowed=f"at most {allowed}", cure="split the piece")
    if score.ticks_per_quarter <= 0:
        raise UnreadableItem("MIDI time in frames instead of quarters", given=score.ticks_per_quarter)


def _rescaled(ticks: Any, tpq: int, grid: Grid) -> Any:
    """Ticks at ``tpq`` as the nearest ticks of the grid; halves go up."""
    return (2 * ticks * grid.resolution + tpq) // (2 * tpq)


def _on_grid(notes: np.ndarray, tpq: int, grid: Grid) -> np.ndarray:
    onset = _rescaled(notes[:, 0], tpq, grid)
    duration = np.maximum(_rescaled(notes[:, 0] + notes[:, 1], tpq, grid) - onset, 1)
    levels = grid.levels()
    velocity = levels[np.abs(notes[:, 3:4] - levels).argmin(axis=1)]
    table = np.stack([onset, duration, notes[:, 2], velocity], axis=1)
    table = table[(notes[:, 0] >= 0) & (notes[:, 1] >= 0) & (notes[:, 2] >= 0) & (notes[:, 2] < 128)]
    return _separated(table, grid)


def _separated(notes: np.ndarray, grid: Grid) -> np.ndarray:
    """Sorted by onset and pitch; a later note of the same pitch cuts an earlier, of one onset the longer stays."""
    notes = notes[np.lexsort((-notes[:, 1], notes[:, 0], notes[:, 2]))].copy()
    first = np.ones(len(notes), dtype=bool)
    first[1:] = (np.diff(notes[:, 2]) != 0) | (np.diff(notes[:, 0]) != 0)
    notes = notes[first]
    same = np.diff(notes[:, 2]) == 0
    room = np.full(len(notes), grid.longest * grid.resolution)
    room[:-1][same] = np.minimum(room[:-1][same], np.diff(notes[:, 0])[same])
    notes[:, 1] = np.minimum(notes[:, 1], room)
    return notes[np.lexsort((notes[:, 2], notes[:, 0]))]
