"""Part writing kept while columns are written, held against what the metric counts in the decoded pieces."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Note, Score, Track

from miaobi.evaluation.metrics._part_writing import RULES, counted, leaps, on_beats, outside
from miaobi.modalities import create
from miaobi.modalities._grid import FIRST_PITCH, HEADER, HOLD, PITCHES, REST, GridTokens
from miaobi.modalities._part_writing import VOICES, PartWriting, PartWritingGuard
from miaobi.modalities.music import Music

END = GridTokens.size
SIZE = END + 1
CHORD = [FIRST_PITCH + pitch for pitch in (72, 64, 60, 48)]
HEAD = [HOLD] * HEADER * VOICES

spoken = st.one_of(st.just(HOLD), st.just(HOLD), st.just(REST), st.integers(60, 79).map(lambda p: p + FIRST_PITCH))
wild = st.one_of(st.just(HOLD), st.integers(0, PITCHES - 1).map(lambda p: p + FIRST_PITCH))


@functools.cache
def music(resolution: int = 4) -> Music:
    piece: Any = Score(4)
    for pitch in (72, 64, 60, 48):
        track: Any = Track(program=52)
        track.notes.append(Note(0, 4, pitch, 100))
        piece.tracks.append(track)
    made = create({"name": "music", "tokenizer": "grid", "max_length": 8192, "resolution": resolution})
    made.fit([made.read(piece)])
    assert isinstance(made, Music)
    return made


def written(known: list[int | None], resolution: int, seed: int, ruled: bool = True) -> list[int]:
    """A piece with what is known, the rest drawn evenly from notes, holds and rests that are allowed."""
    guard, rng = PartWriting(resolution).guard(SIZE, known), np.random.default_rng(seed)
    tokens: list[int] = []
    for token in known:
        allowed = guard.allowed() if ruled else np.ones(SIZE, dtype=bool)
        choices = np.flatnonzero(allowed[: FIRST_PITCH + PITCHES])
        tokens.append(int(rng.choice(choices)) if token is None else token)
        assert guard.admit(tokens[-1])
    return tokens


def with_soprano(line: list[int]) -> list[int | None]:
    """A given soprano that begins with a note, so that it is the first track."""
    return [*HEAD, *(token for one in [CHORD[0], *line] for token in (one, None, None, None))]


def broken(tokens: list[int], resolution: int) -> dict[str, int]:
    return dict(zip(RULES, counted(music(resolution).decode(np.array(tokens))).astype(int).tolist(), strict=False))


@settings(max_examples=60, deadline=None)
@given(st.lists(spoken, max_size=60), st.sampled_from([4, 6]), st.integers(0, 2**32))
def test_whatever_is_drawn_under_a_given_soprano_breaks_no_rule(line: list[int], resolution: int, seed: int) -> None:
    tokens = written(with_soprano(line), resolution, seed)
    assert tokens[HEADER * VOICES :: VOICES] == [CHORD[0], *line]
    own = leaps(music(resolution).decode(np.array([t if i % VOICES == 0 else HOLD for i, t in enumerate(tokens)])))
    assert broken(tokens, resolution) == dict.fromkeys(RULES, 0) | {"wide_leaps": own}


@settings(max_examples=40, deadline=None)
@given(st.lists(wild, max_size=40), st.integers(0, 3), st.integers(0, 2**32))
def test_a_given_voice_that_breaks_rules_is_left_to_itself(line: list[int], voice: int, seed: int) -> None:
    columns = [[token if at == voice else None for at in range(VOICES)] for token in line]
    known = [*HEAD, *CHORD, *([None] * 12), *(token for column in columns for token in column)]
    tokens = written(known, 4, seed)
    found, alone = broken(tokens, 4), [t if i % VOICES == voice else HOLD for i, t in enumerate(tokens)]
    by_itself = music().decode(np.array([*HEAD, *CHORD, *alone[len(HEAD) + VOICES :]]))
    range_of_its_own = outside(on_beats(by_itself))
    assert (found["parallel_fifths"], found["parallel_octaves"], found["voice_crossings"]) == (0, 0, 0)
    assert (found["out_of_range"], found["wide_leaps"]) == (range_of_its_own, leaps(by_itself))


def test_the_same_draws_without_the_rules_break_them() -> None:
    line = [FIRST_PITCH + 60 + (7 * at) % 20 for at in range(600)]
    found, kept = (broken(written(with_soprano(line), 4, 0, ruled), 4) for ruled in (False, True))
    assert found["parallel_fifths"] + found["parallel_octaves"] > 0
    assert min(found[rule] for rule in ("voice_crossings", "out_of_range", "wide_leaps")) > 100
    # The given line leaps by itself.
    own = sum(abs(after - before) > 12 for before, after in pairwise(line))
    assert kept == dict.fromkeys(RULES, 0) | {"wide_leaps": own + (abs(line[0] - CHORD[0]) > 12)}


@settings(max_examples=12, deadline=None)
@given(st.lists(spoken, min_size=3, max_size=24), st.integers(0, 2), st.integers(0, 2**32), st.integers(0, 3))
def test_on_a_beat_exactly_what_breaks_a_rule_is_left_out(line: list[int], beats: int, seed: int, voice: int) -> None:
    """Held against the count of each piece that ends with that token, in either direction."""
    steps = 4 * (beats + 1)
    known: list[int | None] = [*HEAD, *CHORD, *([None] * VOICES * (steps - 1))]
    tokens = written(known, 4, seed)
    tokens += written([*tokens, *([None] * voice)], 4, seed)[len(tokens) :]
    guard = PartWriting(4).guard(SIZE)
    for token in tokens:
        guard.admit(token)
    allowed = guard.allowed()
    rests = [REST] * (VOICES - voice - 1)
    silent = sum(broken([*tokens, REST, *rests], 4).values())
    for token in (HOLD, *range(FIRST_PITCH, FIRST_PITCH + PITCHES)):
        clean = sum(broken([*tokens, token, *rests], 4).values()) == silent
        assert bool(allowed[token]) == clean, token


def guard_after(*columns: list[int | None], known: tuple[int | None, ...] = ()) -> PartWritingGuard:
    """Beats of chords (a column, then holds up to the next beat) from high to low; the last may be cut short."""
    guard = PartWriting(4).guard(SIZE, known)
    for token in HEAD:
        guard.admit(token)
    for at, column in enumerate(columns):
        for pitch in column:
            guard.admit(HOLD if pitch is None else REST if pitch == 0 else FIRST_PITCH + pitch)
        if at + 1 < len(columns):
            for _ in range(3 * VOICES):
                guard.admit(HOLD)
    return guard


def note(guard: PartWritingGuard, pitch: int) -> bool:
    return bool(guard.allowed()[FIRST_PITCH + pitch])


def test_a_fifth_moves_into_no_fifth_and_an_octave_into_no_octave() -> None:
    guard = guard_after([67, 60, 0, 48], [69])
    assert not note(guard, 62)  # a fifth below the soprano again, up as it went
    assert note(guard, 65)
    assert note(guard, 57)  # an octave below
    assert not note(guard_after([72, 60, 0, 0], [74]), 62)
    guard = guard_after([74, 0, 0, 43], [72, 0, 0])
    assert not note(guard, 41)
    assert note(guard, 53)  # a fifth too, in contrary motion


def test_what_is_held_onto_a_beat_is_heard_there() -> None:
    guard = guard_after([67, 60, 0, 48], [None, None, None, None])
    for column in ((HOLD, FIRST_PITCH + 62, HOLD, HOLD), (HOLD,) * 4, (HOLD,) * 4, (FIRST_PITCH + 69,)):
        for token in column:
            guard.admit(token)
    assert not guard.allowed()[HOLD]
    assert guard.allowed()[REST]


def test_a_given_bass_is_known_before_it_is_reached() -> None:
    coming = [*HEAD, *([None] * 3), FIRST_PITCH + 59]
    guard = guard_after([72, 64], known=tuple(coming))
    assert note(guard, 60)
    assert not note(guard, 57)
    assert note(guard_after([72, 64]), 57)


def test_leaps_are_measured_across_rests() -> None:
    guard = guard_after([76, 74, 60, 48], [0, 0, 0, 0], [76])
    assert note(guard, 62)
    assert not note(guard, 61)


def test_between_beats_anything_may_be_held_and_nothing_begins_out_of_range() -> None:
    guard = guard_after([72, 64, 60, 48])
    for token in (FIRST_PITCH + 62, HOLD):
        guard.admit(token)
    assert guard.allowed()[HOLD]
    guard = guard_after([72, 67, 60, 48])
    guard.admit(FIRST_PITCH + 65)
    assert guard.allowed()[HOLD]
    assert not note(guard, 67)
    assert not note(guard, 54)


def test_a_piece_ends_with_a_whole_column_and_its_header_is_free() -> None:
    assert PartWriting(4).guard(SIZE).allowed().all()
    guard = guard_after([72, 64, 60, 48])
    for voice in range(VOICES):
        assert bool(guard.allowed()[END]) == (voice == 0)
        guard.admit(HOLD)


def test_what_is_given_is_never_left_out() -> None:
    known = (*HEAD, FIRST_PITCH + 127, FIRST_PITCH + 127)
    guard = guard_after([127], known=known)
    assert guard.allowed().all()


def test_only_music_of_four_voices_on_a_grid_has_rules() -> None:
    assert isinstance(music().rules, PartWriting)
    assert music(6).rules is not None
    assert music(6).rules.resolution == 6
    for options in ({"tokenizer": "remi"}, {"tokenizer": "grid", "programs": [52, 52]}):
        other = create({"name": "music", **options})
        other.fit([music().decode(np.array([*HEAD, *CHORD]))])
        assert other.rules is None
    assert create("image").rules is None


@pytest.mark.parametrize("token", [FIRST_PITCH + PITCHES, END - 1])
def test_a_header_token_within_the_music_is_a_hold(token: int) -> None:
    guard = guard_after([67, 60, 0, 48], [69, 62])
    same, held = guard_after([67, 60, 0, 48], [69, 62]), guard.allowed()
    assert held[token] == held[HOLD]
    guard.admit(token)
    same.admit(HOLD)
    assert (guard.allowed() == same.allowed()).all()
