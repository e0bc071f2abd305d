"""Planted copies are caught; honest samples are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from symusic import Note, Track
from symusic import Score as SymusicScore

from miaobi import modalities
from miaobi.evaluation import Score, score
from miaobi.evaluation.metrics._copies import MOSTLY, Lengths, judge
from miaobi.evaluation.metrics._overlap import Overlap, longest_common, shared_in_order
from miaobi.evaluation.metrics._words import letters, steps
from tests.evaluation.stand_ins import Data, Rows, Sampler, context, data, digits, image, sentences, text


def one_in_twenty_copied(fresh: list, train: list) -> list:
    return [train[i] if i % 20 == 0 else item for i, item in enumerate(fresh)]


def in_order(count: int):
    order = iter(range(count))
    return lambda seeds: seeds.new_tensor([next(order) for _ in seeds])


def test_copied_pictures_are_caught_and_shown() -> None:
    items = digits(1700)
    modality = image(items)
    train, held, fresh = items[:900], items[900:1300], items[1300:1700]
    prepared = data(modality, train, held)
    honest = score(context(Sampler(modality, fresh, in_order(400)), prepared), ["memorization"])["copied_share"]
    planted = one_in_twenty_copied(fresh, train)
    caught = score(context(Sampler(modality, planted, in_order(400)), prepared), ["copied_share"])["copied_share"]
    assert caught.value >= 0.05
    assert caught.interval is not None
    assert caught.interval[0] > (caught.floor or 0)
    assert honest.value < 0.04
    assert caught.protocol["detail"]["training_items"] == 900
    nearest = caught.pairs[0]
    assert nearest.distance == pytest.approx(0, abs=1e-6)
    np.testing.assert_array_equal(nearest.generated, nearest.training)


def test_copied_sentences_are_caught_and_measured() -> None:
    lines = sentences(800)
    rng = np.random.default_rng(0)
    lines = [lines[i] for i in rng.permutation(len(lines))]
    modality = text(lines)
    train, held, fresh = lines[:400], lines[400:600], lines[600:800]
    prepared = data(modality, train, held)
    planted = one_in_twenty_copied(fresh, train)
    found = score(context(Sampler(modality, planted, in_order(200)), prepared), ["memorization"])
    assert found["copied_share"].value >= 0.05
    assert found["copied_share"].interval is not None
    honest = score(context(Sampler(modality, fresh, in_order(200)), prepared), ["memorization"])
    assert honest["copied_share"].value < found["copied_share"].value
    assert found["longest_copy"].value > honest["longest_copy"].value
    assert [pair.generated == pair.training for pair in found["copied_share"].pairs[:8]] == [True] * 8


def test_a_copy_across_two_windows_of_a_stream_is_seen_whole() -> None:
    passage = " ".join(sentences(200))
    modality = modalities.create({"name": "text", "context": 40})
    modality.fit([passage], stream=True)
    train = Rows("train", [passage[:6000]], modality, window=40)
    held = Rows("validation", [passage[6000:]], modality, window=40)
    copy = passage[4030:4065]
    family = Sampler(modality, [copy])
    found = score(context(family, Data(modality, train, held, Rows("test", [], modality)), count=4), ["memorization"])
    assert found["training_distance"].value == 0
    assert found["longest_copy"].value == len(letters(copy))
    assert copy in found["copied_share"].pairs[0].training


@settings(max_examples=60, deadline=None)
@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_longest_common_is_the_longest_common_substring(left: str, right: str) -> None:
    common = {left[i:j] for i in range(len(left)) for j in range(i, len(left) + 1)}
    assert longest_common(left, right) == max((len(part) for part in common if part in right), default=0)


def test_overlap_is_the_share_of_n_grams_in_one_item() -> None:
    distances, where = Overlap(["abcdef", "xyz", "ab"], 3).nearest([["abcxxx", "cdefzz"], ["ab", "zzz"]])
    assert distances == pytest.approx([1 - 2 / 4, 1, 0])
    assert where.tolist()[::2] == [1, 2]


def by_table(left: str, right: str) -> int:
    lengths = np.zeros((len(left) + 1, len(right) + 1), dtype=int)
    for i, one in enumerate(left, 1):
        for j, other in enumerate(right, 1):
            same = lengths[i - 1, j - 1] + 1 if one == other else 0
            lengths[i, j] = max(same, lengths[i - 1, j], lengths[i, j - 1])
    return int(lengths[-1, -1])


@settings(max_examples=80, deadline=None)
@given(st.text("abc", min_size=1, max_size=12), st.text("abc", max_size=12))
def test_what_is_shared_in_order_is_the_longest_common_subsequence(left: str, right: str) -> None:
    assert shared_in_order(left, right) == pytest.approx(by_table(left, right) / len(left))


def test_nothing_is_a_copy_of_nothing_only() -> None:
    assert (shared_in_order("", ""), shared_in_order("", "a")) == (1, 0)


def changed(how: Callable[[str], str]) -> Score:
    lines = sentences(800)
    lines = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]
    modality = text([*lines, *map(str.upper, lines)])
    pool = [how(line) for line in lines[:200]]
    prepared = data(modality, lines[:400], lines[400:600])
    return score(context(Sampler(modality, pool, in_order(200)), prepared), ["near_share"])["near_share"]


@pytest.mark.parametrize(
    "how",
    [
        "  ".join,
        str.upper,
        lambda line: line.replace(" ", " . "),
        lambda line: " ".join(word for place, word in enumerate(line.split()) if place % 4 != 3),
    ],
    ids=["spaced", "in capitals", "with marks", "every fourth word left out"],
)
def test_copies_that_were_changed_are_caught(how: Callable[[str], str]) -> None:
    found = changed(how)
    assert found.value > 0.5
    assert found.floor is not None
    assert found.floor < 0.15


def test_music_is_followed_by_its_intervals_and_lengths() -> None:
    piece: Any = SymusicScore(4)
    for start in (60, 48):
        track: Any = Track("", 0, False)
        for place, rise in enumerate((0, 2, 4, 12)):
            track.notes.append(Note(place * 4, 4 if place else 8, start + rise, 100))
        piece.tracks.append(track)
    assert steps(piece) == ["0:8", "2:4", "2:4", "8:4"] * 2
    assert steps(piece.shift_pitch(-12)) == steps(piece.shift_pitch(5)) == steps(piece)


def test_short_samples_are_judged_by_what_is_as_short() -> None:
    held = ["abcdefghijkl"] * 30
    lengths = Lengths.of(held, ["abcd", "abcdefgh", "a" * 50, ""])
    assert lengths.of_samples.tolist() == [4, 8, 12, 4]
    assert {length: cut[0] for length, cut in lengths.cut.items()} == {4: "abcd", 8: "abcdefgh", 12: "abcdefghijkl"}
    assert len(lengths.sequences) == 90


def test_copies_among_scraps_are_not_excused_by_the_scraps() -> None:
    """What is short is near by chance in half of the cases, what is long never: of each, a hundred samples."""
    rng = np.random.default_rng(0)
    held = {4: rng.choice([0.0, 0.4], (200, 1)), 48: rng.uniform(0.3, 0.9, (200, 1))}
    lengths = np.repeat([4, 48], 100)
    honest = np.concatenate([rng.choice([0.0, 0.4], (100, 1)), rng.uniform(0.3, 0.9, (100, 1))])
    copies = np.concatenate([np.full((100, 1), 0.4), np.zeros((100, 1))])
    one, other = judge(honest, lengths, held, 1.0, MOSTLY), judge(copies, lengths, held, 1.0, MOSTLY)
    assert one.copied.mean() <= one.by_chance + 0.01
    assert one.floor == pytest.approx(0.25, abs=0.1)
    assert other.copied.mean() == 0.5
    assert other.by_chance < 0.05


def test_what_shares_less_than_half_is_no_copy() -> None:
    held, lengths = {0: np.full((50, 1), 0.9)}, np.zeros(50)
    assert not judge(np.full((50, 1), 0.6), lengths, held, 1.0, MOSTLY).copied.any()
    assert judge(np.full((50, 1), 0.4), lengths, held, 1.0, MOSTLY).copied.all()


def test_copies_with_noise_are_caught_by_how_much_nearer_the_nearest_is() -> None:
    items = digits(1200)
    modality = image(items)
    grain = np.random.default_rng(0).normal(0, 25, (300, *items[0].shape))
    noisy = [np.clip(np.rint(one + more), 0, 255).astype(np.uint8) for one, more in zip(items, grain, strict=False)]
    prepared = data(modality, items[:600], items[600:900])
    found = score(context(Sampler(modality, noisy, in_order(300)), prepared), ["copied_share"])["copied_share"]
    honest = score(context(Sampler(modality, items[900:], in_order(300)), prepared), ["copied_share"])["copied_share"]
    assert found.value > 0.4
    assert honest.value < 0.04
