"""Relevance: all for copies, chance for texts of something else, and cosines by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.evaluation import check, score
from miaobi.evaluation.metrics.relevance import Similarities, strangers, terms
from tests.evaluation.pairs import paired
from tests.evaluation.stand_ins import Sampler, sentences, text

LINES = sentences(60)
CHINESE = [
    "春眠不覺曉",
    "白日依山盡",
    "床前明月光",
    "空山不見人",
    "千山鳥飛絕",
    "松下問童子",
    "紅豆生南國",
    "獨坐幽篁裏",
]


def found(answers, real=LINES, told=None, **options):
    return score(paired(answers, real, told), ["relevance"], {"relevance": options})


def test_copies_are_all_relevant_and_the_control_is_chance():
    scores = found(LINES)
    assert scores["relevance_top1"].value == scores["relevance_top1"].floor == 1
    assert scores["relevance_margin"].value == pytest.approx(scores["relevance_margin"].floor)
    assert scores["relevance_margin"].value > 0.8
    assert scores["relevance_shuffled"].floor == 0.05
    low, high = scores["relevance_shuffled"].interval
    assert low <= 0.05 <= high
    assert scores["relevance_top1"].protocol["detail"]["among"] == 20


def test_answers_to_another_item_are_at_chance():
    scores = found([*LINES[7:], *LINES[:7]])
    # What they answer may be among the others, so that their own comes first a little less often than by chance.
    assert scores["relevance_top1"].value <= 0.1
    assert abs(scores["relevance_margin"].value) < 0.1
    assert scores["relevance_top1"].floor == 1


def test_a_hint_of_the_condition_is_enough_and_nothing_in_common_is_chance():
    hints = [max(line.split(), key=len) for line in LINES]
    assert 0.5 < found(hints)["relevance_top1"].value <= 1
    empty = found(["..."] * 60)
    assert empty["relevance_top1"].value == pytest.approx(0.05)
    assert empty["relevance_margin"].value == 0


def test_chinese_is_compared_by_characters():
    scores = found([line[:2] for line in CHINESE], CHINESE)
    assert scores["relevance_top1"].value == 1
    assert scores["relevance_top1"].protocol["detail"]["chance"] == 1 / 8
    assert terms("白日 Hello, world") == ["白", "日", "hello", "world", "白 日", "日 hello", "hello world"]


def test_the_same_condition_twice_is_a_tie():
    told = [line for line in LINES[:2] for _ in range(2)]
    scores = found(told, told, told)
    assert scores["relevance_top1"].value == 0.5


@settings(max_examples=100, deadline=None)
@given(st.integers(3, 50), st.integers(2, 30), st.integers(0, 1000))
def test_strangers_are_other_items_and_each_once(count, among, seed):
    others, another = strangers(count, among, seed)
    assert others.shape == (count, min(among, count) - 1)
    for row, single in zip(others.tolist(), another.tolist(), strict=True):
        assert len(set(row)) == len(row)
        assert {*row, single} <= set(range(1, count))
        assert (single in row) == (count <= among)


def test_strangers_differ_from_item_to_item():
    others, _ = strangers(200, 20, seed=0)
    assert len({tuple(sorted(row)) for row in others.tolist()}) > 100
    assert np.bincount(others.ravel(), minlength=200)[1:].min() > 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000))
def test_similarities_are_those_by_hand(seed):
    rng = np.random.default_rng(seed)
    texts, conditions = rng.integers(0, 3, (2, 6, 4)).astype(float)
    own, others = rng.integers(0, 3, 6), rng.integers(3, 6, (6, 2))
    found = Similarities(csr_matrix(texts), csr_matrix(conditions), own, others)
    for row in range(6):
        shifts = (own[row], *others[row])
        mine, *rest = (float(texts[row] @ conditions[(row + shift) % 6]) for shift in shifts)
        first = 0.0 if mine < max(rest) else 1 / (1 + rest.count(mine))
        assert found.first()[row] == pytest.approx(first)
        assert found.margin()[row] == pytest.approx(mine - sum(rest) / 2)


def test_a_brief_look_has_no_interval():
    scores = score(paired(LINES, LINES, brief=True), ["relevance.relevance_top1"])
    assert scores["relevance_top1"].interval is None


def test_what_it_cannot_compare_is_refused():
    with pytest.raises(InvalidRecipe, match="at least 3"):
        found(LINES[:2], LINES[:2])
    with pytest.raises(InvalidRecipe, match=r"relevance\.source"):
        score(paired(LINES, LINES, more={"other": LINES}), ["relevance"])
    named = paired(LINES, LINES, more={"other": LINES[::-1]})
    assert score(named, ["relevance"], {"relevance": {"source": "source"}})["relevance_top1"].value == 1
    options = {"relevance": {"source": "sauce"}}
    with pytest.raises(InvalidRecipe, match="source is not a text condition"):
        check(["relevance"], named.model.family, named.modality, None, options, named.model.conditions)
    modality = text(LINES)
    with pytest.raises(Unsupported, match="without conditions"):
        check(["relevance"], Sampler(modality, LINES), modality)
