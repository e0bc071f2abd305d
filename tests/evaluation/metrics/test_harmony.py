"""Part writing in phrases whose violations are known by reading them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from symusic import Note, Score, Track

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics._part_writing import RULES, counted, on_beats
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text


def piece(*voices: Sequence[int], quarter: int = 480) -> Any:
    """Pitches of voices from high to low, a quarter each; 0 is a rest."""
    made: Any = Score(quarter)
    for pitches in voices:
        track: Any = Track(program=52)
        for beat, pitch in enumerate(pitches):
            if pitch:
                track.notes.append(Note(beat * quarter, quarter, pitch, 64))
        made.tracks.append(track)
    return made


def broken(*voices: Sequence[int]) -> dict[str, int]:
    found = counted(piece(*voices)).astype(int).tolist()
    return {name: count for name, count in zip((*RULES, "chords"), found, strict=True) if count}


# C major: I, IV, V, I in close position, as in a textbook; the bass moves against the other three.
CADENCE = [72, 72, 71, 72], [67, 69, 67, 67], [64, 65, 62, 64], [48, 53, 55, 48]


def test_a_textbook_cadence_breaks_no_rule() -> None:
    assert broken(*CADENCE) == {"chords": 4}


@pytest.mark.parametrize(
    ("voices", "expected"),
    [
        # Soprano and bass a twelfth apart, both up a step; alto and tenor rest.
        (([67, 69], [0, 0], [0, 0], [48, 50]), {"parallel_fifths": 1}),
        # The same fifth again: neither moves.
        (([67, 67], [0, 0], [0, 0], [48, 48]), {}),
        # From a fifth to a twelfth, upper voice up and lower down: contrary.
        (([67, 74], [0, 0], [0, 0], [60, 55]), {}),
        # A diminished fifth follows a perfect one.
        (([67, 65], [0, 0], [0, 0], [60, 59]), {}),
        (([72, 74], [0, 0], [0, 0], [48, 50]), {"parallel_octaves": 1}),
        (([0, 0], [60, 62], [60, 62], [0, 0]), {"parallel_octaves": 1}),
        # Three voices in fifths and an octave: root position triads side by side.
        (([72, 74], [67, 69], [0, 0], [48, 50]), {"parallel_fifths": 1, "parallel_octaves": 1}),
        # A rest between breaks the parallel.
        (([67, 0, 69], [0, 0, 0], [0, 0, 0], [48, 0, 50]), {}),
        # The tenor above the alto on the second of two beats.
        (([72, 72], [60, 59], [55, 60], [48, 48]), {"voice_crossings": 1}),
        # A unison is no crossing.
        (([72], [60], [60], [48]), {}),
        # Soprano E6 and bass D2.
        (([88], [64], [60], [38]), {"out_of_range": 2}),
        # A ninth up in the bass is wide, an octave is not.
        (([72, 72], [64, 64], [60, 60], [45, 59]), {"wide_leaps": 1}),
        (([72, 72], [64, 64], [60, 60], [45, 57]), {}),
    ],
)
def test_each_rule(voices: tuple[list[int], ...], expected: dict[str, int]) -> None:
    found = broken(*voices)
    found.pop("chords", None)
    assert found == expected


def test_chords_are_beats_on_which_two_voices_sound() -> None:
    assert broken([72, 72, 0], [0, 64, 0], [0, 0, 0], [0, 48, 48])["chords"] == 1
    assert counted(piece()).tolist() == [0] * 6


def test_what_sounds_on_a_beat() -> None:
    made: Any = Score(4)
    track: Any = Track(program=52)
    # A half note, an eighth that begins off the beat, and two pitches of one onset.
    for onset, duration, pitch in ((0, 8, 60), (10, 2, 62), (12, 4, 64), (12, 4, 67)):
        track.notes.append(Note(onset, duration, pitch, 64))
    made.tracks.append(track)
    assert on_beats(made).ravel().tolist() == [60, 60, -1, 67]


def test_fewer_tracks_are_the_voices_that_suit_them_and_more_are_none() -> None:
    assert "out_of_range" not in broken([62], [51], [45])
    assert broken([72], [64], [60], [48], [47])["out_of_range"] == 1


def scored(samples: Sequence[Any], real: Sequence[Any]) -> Any:
    modality = modalities.create("music")
    samples, real = ([modality.read(item) for item in side] for side in (samples, real))
    modality.fit([*samples, *real])
    family = Sampler(modality, samples, pick=lambda seeds: torch.arange(len(seeds)) % len(samples))
    return score(context(family, data(modality, real, real)), ["harmony"])


def test_rates_are_of_all_chords_and_the_floor_is_the_held_out_pieces() -> None:
    fifths = [72, 72, 74, 74], [67, 67, 69, 69], [64, 64, 62, 62], [48, 48, 50, 50]
    found = scored([piece(*fifths), piece(*CADENCE)], [piece(*CADENCE), piece(*fifths)])
    assert found["parallel_fifths"].value == pytest.approx(100 / 8)
    assert found["parallel_octaves"].value == pytest.approx(100 / 8)
    assert found["voice_crossings"].value == 0
    assert found["violations"].value == pytest.approx(200 / 8)
    assert found["chords"].value == 4
    for figure in found.values():
        assert figure.floor == pytest.approx(figure.value)
        assert figure.interval[0] <= figure.value <= figure.interval[1]


def test_all_rules_together_over_the_floor_are_the_ratio() -> None:
    fifths = [72, 72, 74, 74], [67, 67, 69, 69], [64, 64, 62, 62], [48, 48, 50, 50]
    crossed = [72, 72, 71, 72], [60, 69, 67, 67], [64, 65, 62, 64], [48, 53, 55, 48]
    found = scored([piece(*fifths), piece(*crossed), piece(*CADENCE)], [piece(*fifths)] + [piece(*CADENCE)] * 2)
    assert found["violations"].value == pytest.approx(300 / 12)
    assert found["violations"].value / found["violations"].floor == pytest.approx(3 / 2)
    rules = [found[rule] for rule in RULES]
    assert sum(rule.value for rule in rules) == pytest.approx(found["violations"].value)
    assert sum(rule.floor for rule in rules) == pytest.approx(found["violations"].floor)


def test_samples_without_a_chord_have_no_rates() -> None:
    found = scored([piece([72], [0], [0], [0])], [piece(*CADENCE)])
    assert list(found) == ["chords"]
    assert found["chords"].value == 0


def test_other_music_and_other_content_are_refused() -> None:
    with pytest.raises(Unsupported, match="four voices"):
        scored([piece(*CADENCE)], [piece([72, 72], [64, 64])])
    lines = sentences(10)
    modality = text(lines)
    with pytest.raises(Unsupported, match="of music"):
        score(context(Sampler(modality, lines), data(modality, lines, lines)), ["harmony"])
