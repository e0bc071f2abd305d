"""Overlap of what words and notes there are and of what follows what."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from symusic import Note, Score, Track

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.evaluation import score
from miaobi.evaluation.metrics import _note_counts, _word_counts, find
from miaobi.evaluation.shuffled import Shuffled, shuffle
from tests.evaluation.stand_ins import Sampler, context, data, digits, image, sentences, text

LINES = sentences(120)


def values(pool: list[str]) -> dict[str, Any]:
    modality = text(LINES)
    order = iter(range(10**6))
    family = Sampler(modality, pool, pick=lambda seeds: seeds.new_tensor([next(order) % len(pool) for _ in seeds]))
    return score(context(family, data(modality, LINES[:60], LINES[60:])), ["statistics"])


def test_held_out_items_overlap_wholly_and_training_items_score_the_floor() -> None:
    found = values(LINES[60:])
    for name in _word_counts.UNITS:
        assert found[name].value == pytest.approx(1)
    floor = values(LINES[:60])
    assert floor["least_overlap"].value == pytest.approx(1)
    for one in floor.values():
        assert one.value == pytest.approx(one.floor)
        assert one.interval[0] < one.value < one.interval[1]


def test_the_least_is_the_smallest_over_its_floor() -> None:
    found = values([" ".join(reversed(line.split())) for line in LINES[:60]])
    assert found["word_overlap"].value == pytest.approx(found["word_overlap"].floor, rel=0.05)
    ratios = [found[name].value / found[name].floor for name in _word_counts.UNITS]
    assert found["least_overlap"].value == pytest.approx(min(ratios))
    assert found["pair_overlap"].value < 0.8 * found["pair_overlap"].floor


def test_noise_and_a_constant_are_low() -> None:
    assert values(["zq jx"])["least_overlap"].value == 0
    assert values(LINES[:1])["least_overlap"].value < 0.5


def test_words_are_counted_by_hand() -> None:
    found = _word_counts.counted(["b", "a", "b"])
    assert found == [Counter({"b": 2, "a": 1}), Counter({("b", "a"): 1, ("a", "b"): 1}), Counter({("b", "b"): 1})]


def test_notes_are_counted_by_hand() -> None:
    piece: Any = Score(4)
    track: Any = Track("", 0, False)
    for time, length, pitch in ((4, 4, 72), (0, 4, 60), (8, 2, 40)):
        track.notes.append(Note(time, length, pitch, 100))
    piece.tracks.append(track)
    classes, lengths, intervals, transitions, rhythms = _note_counts.counted(piece)
    assert classes == {0: 2, 4: 1}
    assert lengths == {4: 2, 2: 1}
    assert intervals == {12: 1, -24: 1}
    assert transitions == {(0, 0): 1, (0, 4): 1}
    assert rhythms == {(4, 4): 1, (4, 2): 1}


def test_shuffled_texts_keep_their_words_and_lose_their_order() -> None:
    modality = text(LINES)
    real = context(Sampler(modality, LINES), data(modality, LINES[:60], LINES[60:]))
    shuffled = Shuffled.of(real)
    for line, mixed in zip(LINES[:60], shuffled.generated_items, strict=True):
        assert sorted(line.split()) == sorted(mixed.split())
    assert sum(line == mixed for line, mixed in zip(LINES[:60], shuffled.generated_items, strict=True)) < 6
    assert score(shuffled, ["statistics"])["least_overlap"].value < 0.9


def test_shuffled_images_keep_their_pixels() -> None:
    items = digits(20)
    modality = image(items)
    mixed = Shuffled.of(context(Sampler(modality, items), data(modality, items[:10], items[10:]))).generated_items
    for item, other in zip(items[:10], mixed, strict=True):
        assert sorted(item.ravel().tolist()) == sorted(other.ravel().tolist())
        assert item.tolist() != other.tolist()


def test_images_are_refused() -> None:
    items = digits(9)
    with pytest.raises(Unsupported):
        find("statistics").check(Sampler(image(items), items), image(items))
    with pytest.raises(Unsupported, match="no order to lose"):
        shuffle(modalities.create("label"), [], [], 0)
