"""Planted copies are caught; honest samples are not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi import modalities
from miaobi.evaluation import score
from miaobi.evaluation.metrics._overlap import Overlap, longest_common
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
    assert found["longest_copy"].value == len(copy)
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
