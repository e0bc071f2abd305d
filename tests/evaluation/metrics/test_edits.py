"""Edits keep what they promise, and a greedy search finds what is planted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.evaluation.metrics._edits import EDITS, edited, greedy, repeatedly

LINES = st.text("abcdeéл人未 ,.\n", max_size=40)


def ends(text: str) -> list[str]:
    return [word[0] + word[-1] for word in regex.findall(r"\p{L}+", text)]


@given(LINES, st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_swaps_keep_letters_and_ends_of_words(text: str, seed: int) -> None:
    made = edited(text, ["swap"], seed)
    assert Counter(made) == Counter(text)
    assert ends(made) == ends(text)
    assert sum(one != other for one, other in zip(made, text, strict=True)) in (0, 2)
    assert (made == text) == (not EDITS["swap"].places(text))


@given(LINES, st.integers(0, 100))
@settings(max_examples=100, deadline=None)
def test_deletions_keep_ends_and_lookalikes_keep_length(text: str, seed: int) -> None:
    shorter = edited(text, ["delete"], seed)
    assert len(shorter) == len(text) - bool(EDITS["delete"].places(text))
    assert ends(shorter) == ends(text)
    alike = edited(text, ["lookalike"], seed)
    assert len(alike) == len(text)
    assert sum(one != other for one, other in zip(alike, text, strict=True)) == bool(EDITS["lookalike"].places(text))


@pytest.mark.parametrize(
    ("kind", "text", "found"),
    [
        ("swap", "four", {"fuor"}),
        ("swap", "the cat", {"the cat"}),
        ("swap", "noon", {"noon"}),
        ("delete", "cat", {"ct"}),
        ("delete", "at", {"at"}),
        ("swap", "牀前明月光", {"牀明前月光", "牀前月明光"}),
        ("lookalike", "人zz", {"入zz"}),
    ],
)
def test_edits_by_hand(kind: str, text: str, found: set[str]) -> None:
    assert {edited(text, [kind], seed) for seed in range(20)} == found


def test_every_place_is_as_likely() -> None:
    counts = Counter(edited("abcde fghij", ["swap"], seed) for seed in range(2000))
    assert len(counts) == 4
    assert all(count == pytest.approx(500, abs=80) for count in counts.values())


def test_several_edits_are_one_after_the_other() -> None:
    assert repeatedly("abcdefgh", ["delete"], 3, 7).startswith("a")
    assert len(repeatedly("abcdefgh", ["delete"], 3, 7)) == 5
    assert repeatedly("abcdefgh", ["delete"], 99, 7) == "ah"
    assert repeatedly("abcd", ["swap"], 0, 7) == "abcd"


def test_a_greedy_search_finds_what_hurts_most_and_never_goes_back() -> None:
    def missing(texts: Sequence[str]) -> np.ndarray:
        return np.array([-text.count("x") for text in texts], dtype=float)

    text = "axbxcxdxe plain words beside"
    found = greedy(text, ["delete"], 4, 200, 0, missing)
    assert [one.count("x") for one in found] == [3, 2, 1, 0]
    assert (
        greedy(text, ["delete"], 3, 200, 0, lambda texts: np.array([-len(set(texts) - {one}) for one in texts])) != []
    )
    gains = [missing([one])[0] for one in [text, *greedy(text, ["swap", "delete"], 6, 2, 1, missing)]]
    assert gains == sorted(gains)
