"""BLEU against many references is sacrebleu's own, and what is left out is left out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from miaobi.evaluation.metrics._references import References

TEXTS = st.lists(st.lists(st.sampled_from("abc"), max_size=7).map(" ".join), min_size=2, max_size=5)


def expected(text: str, references: list[str]) -> float:
    return float(BLEU(effective_order=True).sentence_score(text, references).score)


@given(TEXTS, TEXTS)
@settings(max_examples=150, deadline=None)
def test_it_is_sacrebleus_own(references: list[str], texts: list[str]) -> None:
    found = References(references, "13a")
    assert found.scores(texts) == pytest.approx([expected(text, references) for text in texts])
    others = [references[:i] + references[i + 1 :] for i in range(len(references))]
    assert found.leave_one_out() == pytest.approx([expected(t, o) for t, o in zip(references, others, strict=True)])


def test_a_text_that_comes_twice_is_there_when_one_of_them_is_left_out() -> None:
    twice, once = ["a b c d e", "a b c d e", "x y z"], ["a b c d e", "x y z"]
    assert References(twice, "13a").leave_one_out()[0] == pytest.approx(100)
    assert References(once, "13a").leave_one_out()[0] == 0


def test_chinese_is_counted_by_character() -> None:
    assert References(["白日依山尽", "黄河入海流"], "char").scores(["白日依山尽"]) == pytest.approx([100])
    assert References(["白日依山尽", "黄河入海流"], "13a").scores(["白日依山"]) == [0]


def test_the_signature_says_how_many_references() -> None:
    assert "nrefs:3|" in References(["a", "b", "c"], "13a").signature()
    assert "nrefs:2|" in References(["a", "b", "c"], "13a").signature(left_out=1)
