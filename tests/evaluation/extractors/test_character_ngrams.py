"""Hashed character n-grams: cosines are those of the n-grams, of any script, and never change."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from miaobi.evaluation.extractors import choose, create
from miaobi.evaluation.extractors.character_ngrams import SIZE, ngrams
from tests.evaluation.stand_ins import sentences, text

LINES = sentences(60)


def cosine(left: str, right: str) -> float:
    """Of log counts, n-gram by n-gram."""
    a, b = ({gram: np.log1p(count) for gram, count in Counter(ngrams(one)).items()} for one in (left, right))
    dot = sum(a[gram] * b[gram] for gram in a.keys() & b.keys())
    return float(dot / np.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values())))


def test_every_run_of_one_to_four_characters() -> None:
    assert list(ngrams("abcab")) == [*"abcab", "ab", "bc", "ca", "ab", "abc", "bca", "cab", "abca", "bcab"]
    assert list(ngrams("")) == []


def test_cosines_are_kept_within_a_few_standard_errors() -> None:
    found = create("character_ngrams")(LINES)
    pairs = [(i, j) for i in range(60) for j in range(i)]
    errors = [found[i] @ found[j] / SIZE - cosine(LINES[i], LINES[j]) for i, j in pairs]
    assert np.std(errors) < 1.2 / np.sqrt(SIZE)
    assert abs(np.mean(errors)) < 0.03
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.full(60, SIZE**0.5), rel=1e-5)
    assert found.dtype == np.float32


def test_a_batch_equals_its_items_and_an_empty_text_is_nought() -> None:
    extractor = create("character_ngrams")
    lines = ["", "白日依山尽，黄河入海流。", "Don't\n stop.", *LINES[:5]]
    whole = extractor(lines)
    assert np.array_equal(whole, np.concatenate([extractor([line]) for line in lines]))
    assert not whole[0].any()
    assert choose(None, text(lines)).name == "character_ngrams"


def test_features_are_the_same_on_every_machine() -> None:
    found = create("character_ngrams")(["The cat sat.", "白日依山尽"])
    assert found[:, :4] == pytest.approx(np.array(PINNED), abs=1e-4)
    assert create("character_ngrams").hash == HASH


PINNED = [[-0.8261, 0, -0.8261, 0], [0, 1.4254, 0, 0]]
HASH = "a4a0bb8f069d1941"
