"""Vocal range on pieces whose share is known by counting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from symusic import Note, Score, Track

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.evaluation import score
from tests.evaluation.stand_ins import Sampler, context, data, sentences, text


def piece(pitches: Sequence[int]) -> Any:
    """One note a beat for each voice."""
    made = Score(480)
    for pitch in pitches:
        track = Track(program=52)
        for beat in range(4):
            track.notes.append(Note(beat * 480, 480, pitch, 64))
        made.tracks.append(track)
    modality = modalities.create("music")
    return modality.unpack(modality.pack(made))


SUNG, HALF = piece([72, 64, 55, 48]), piece([72, 64, 90, 90])


def scored(samples: Sequence[Any], real: Sequence[Any]) -> Any:
    modality = modalities.create("music")
    modality.fit([SUNG, HALF, *samples, *real])
    return score(context(Sampler(modality, samples), data(modality, [SUNG] * 4, list(real))), ["vocal_range"])[
        "in_vocal_range"
    ]


def test_the_share_is_counted_voice_by_voice() -> None:
    assert scored([SUNG], [SUNG] * 4).value == pytest.approx(1)
    assert scored([HALF], [SUNG] * 4).value == pytest.approx(0.5)


def test_the_floor_is_that_of_the_held_out_pieces() -> None:
    assert scored([SUNG], [HALF] * 4).floor == pytest.approx(0.5)


def test_a_missing_voice_does_not_rename_the_others() -> None:
    without_soprano = piece([62, 51, 45])
    assert scored([without_soprano], [SUNG] * 4).value == pytest.approx(1)


def test_other_music_and_other_content_are_refused() -> None:
    with pytest.raises(Unsupported, match="four voices"):
        scored([SUNG], [piece([72, 64])] * 4)
    lines = sentences(10)
    modality = text(lines)
    with pytest.raises(Unsupported, match="music"):
        score(context(Sampler(modality, lines), data(modality, lines, lines)), ["vocal_range"])
