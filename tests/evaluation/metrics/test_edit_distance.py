"""Edit distance against known pairs and NLTK."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.metrics.distance import edit_distance as by_nltk

from miaobi.evaluation.metrics._edit_distance import edit_distance

WORDS = st.lists(st.sampled_from("abcd"), max_size=12)


@pytest.mark.parametrize(
    ("reference", "answer", "expected"),
    [("kitten", "sitting", 3), ("intention", "execution", 5), ("", "abc", 3), ("abc", "", 3), ("", "", 0)],
)
def test_known_pairs(reference: str, answer: str, expected: int) -> None:
    assert edit_distance(reference, answer) == expected


@given(WORDS, WORDS)
def test_it_is_nltks_and_a_distance(left: list[str], right: list[str]) -> None:
    found = edit_distance(left, right)
    assert found == by_nltk(left, right) == edit_distance(right, left)
    assert (found == 0) == (left == right)
    assert abs(len(left) - len(right)) <= found <= max(len(left), len(right))


def test_long_words_are_elements() -> None:
    assert edit_distance(["the", "quick", "brown", "fox"], ["the", "brown", "foxes", "jump"]) == 3
