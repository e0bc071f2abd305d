"""Music from the files that a user has: a melody harmonised, a piece continued; MIDI and sound out."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from symusic import Note, Score, Tempo, TimeSignature, Track

from miaobi import evaluate, load, training
from miaobi.errors import RequestError, Unsupported
from miaobi.generation import generate
from miaobi.modalities import _score, create
from miaobi.models import Model

TRAIN = {"steps": 4, "batch_size": 8, "evaluate_every": 4, "threads": 1, "precision": "float32"}


def write(path: Path, *voices: list[tuple[int, int, int]], tempo: int = 85) -> Path:
    """A MIDI file of ``(onset, duration, pitch)`` in sixteenths."""
    made: Any = Score(4)
    made.tempos.append(Tempo(0, tempo))
    made.time_signatures.append(TimeSignature(0, 3, 4))
    for voice in voices:
        track: Any = Track("", 52, False)
        for row in voice:
            track.notes.append(Note(*row, 100))
        made.tracks.append(track)
    path.write_bytes(bytes(made.dumps_midi()))
    return path


def pieces(folder: Path, count: int = 30) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        steps = rng.integers(-3, 4, (12, 4)).cumsum(0).clip(-6, 6)
        voices = [
            [(4 * beat, 4, int(centre + steps[beat, voice])) for beat in range(12)]
            for voice, centre in enumerate((71, 64, 57, 50))
        ]
        write(folder / f"{number:02}.mid", *voices)
    return folder


@functools.cache
def model(tokenizer: str, view: bool = True) -> Model:
    folder = Path(tempfile.mkdtemp())
    condition = {"soprano": {"view": {"name": "voice"}}} if view else {}
    network = {"name": "interleaved_recurrent" if view else "lstm", "width": 8, "hidden": 16, "depth": 1}
    sections = {
        "modality": {"name": "music", "tokenizer": tokenizer, "max_length": 512},
        "data": {"source": str(pieces(folder)), "condition": condition, "augment": {"transpose": 2}},
        "model": {"family": "seq2seq" if view else "autoregressive", "size": "tiny", "network": network},
        "train": TRAIN,
        "evaluate": {"samples": 3, "metrics": ["harmony"]},
    }
    return load(training.train(sections, run=folder / "run", progress=False).run)


MELODY = [(0, 4, 72), (4, 2, 74), (6, 2, 76), (8, 4, 77), (14, 6, 76), (20, 4, 72), (24, 12, 74)]


@pytest.fixture
def melody(tmp_path: Path) -> Path:
    return write(tmp_path / "melody.mid", MELODY, tempo=100)


def rows(item: Any, voice: int) -> list[tuple[int, ...]]:
    return [tuple(row[:3]) for row in _score.note_table(item.tracks[voice]).tolist()]


@pytest.mark.parametrize("way", ["edit", "condition"])
def test_a_melody_comes_back_note_for_note_under_three_more_voices(way: str, melody: Path, tmp_path: Path) -> None:
    asked = {"edit": melody} if way == "edit" else {"conditions": {"soprano": str(melody)}}
    made = generate(model("grid"), n=3, out=tmp_path / "out", **asked)
    for one in made:
        item = create("music").read(one.path)
        assert rows(one.item, 0) == MELODY
        assert MELODY in [rows(item, voice) for voice in range(len(item.tracks))]
        assert (len(one.item.tracks), one.item.end() <= 36) == (4, True)
        assert _score.tempo_of(item) == 100
        assert (item.time_signatures[0].numerator, item.time_signatures[0].denominator) == (3, 4)
        sound, rate = soundfile.read(one.paths[1])
        assert 9 / 100 * 60 * rate <= len(sound)
        assert np.abs(sound).max() > 0.1
    assert rows(made[0].item, 3) != rows(made[1].item, 3)


def test_of_a_piece_in_four_parts_the_soprano_is_kept(tmp_path: Path) -> None:
    whole = write(tmp_path / "four.mid", MELODY, *([(0, 36, pitch)] for pitch in (64, 57, 50)))
    item = generate(model("grid"), edit=whole)[0].item
    assert rows(item, 0) == MELODY
    assert rows(item, 3) != [(0, 36, 50)]


def test_what_cannot_be_harmonised_is_refused(melody: Path, tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="takes no mask"):
        generate(model("grid"), edit=melody, mask=melody)
    with pytest.raises(Unsupported, match="edits nothing"):
        generate(model("remi", view=False), edit=melody)
    (tmp_path / "notes.mid").write_text("not music")
    with pytest.raises(RequestError, match="not a MIDI file"):
        generate(model("grid"), edit=tmp_path / "notes.mid")


@pytest.mark.parametrize("tokenizer", ["remi", "tsd", "grid"])
def test_a_piece_is_continued_from_its_beginning(tokenizer: str, tmp_path: Path) -> None:
    start = write(tmp_path / "start.mid", *([(0, 4, pitch), (4, 4, pitch + 2)] for pitch in (72, 64, 57, 50)))
    built = model(tokenizer, view=tokenizer == "grid")
    made = generate(built, prompt=str(start), controls={"max_length": 200}, n=3, out=tmp_path / "out")
    for one in made:
        for voice, pitch in enumerate((72, 64, 57, 50)):
            # On a grid the last notes may be held on; in remi what is drawn may stand beside them.
            onsets = {(onset, height) for onset, _, height in rows(one.item, voice)}
            assert {(0, pitch), (4, pitch + 2)} <= onsets
        assert one.path is not None
        assert one.path.suffix == ".mid"
    assert any(one.item.note_num() > 8 for one in made)


def test_harmony_of_held_out_sopranos_is_measured_beside_the_held_out_pieces() -> None:
    found = evaluate(model("grid"))
    assert {"violations", "parallel_fifths", "chords"} <= set(found)
    assert found["chords"].value == found["chords"].floor == 12
    assert found["violations"].protocol["conditions"] == ["soprano"]


def test_under_the_control_rules_no_rule_is_broken_and_the_score_says_so() -> None:
    free, ruled = (evaluate(model("grid"), controls={"rules": rules}) for rules in (False, True))
    assert free["violations"].value > 100
    assert ruled["violations"].value == 0
    assert ruled["violations"].protocol["controls"]["rules"] is True
