"""Words as runs of tokens: they join to the text, and begin where a reader says they begin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.families._words import Segmenter
from miaobi.modalities._characters import Characters
from miaobi.modalities._subwords import Subwords

TEXTS = ['Who is there? "2 gods, and the Lord."', "naïve café — déjà vu", "有光。 light 光", "a  b\n\n\tc "] * 3
CHARACTERS = Characters.learn(TEXTS, 100)
SUBWORDS = Subwords.learn(TEXTS, 290)
both = pytest.mark.parametrize("tokenizer", [CHARACTERS, SUBWORDS], ids=["characters", "subwords"])


def cut(tokenizer, text):
    return [tokenizer.decode(np.array(word)) for word in Segmenter(tokenizer)(tokenizer.encode(text))]


@both
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the Lord, and gods.", ["the", " Lord", ",", " and", " gods", "."]),
        ('"gods?"', ['"', "gods", "?", '"']),
        ("café — vu", ["café", " —", " vu"]),
        ("a  b\n\n\tc", ["a", "  b", "\n\n\tc"]),
        (" a ", [" a", " "]),
        ("", []),
    ],
)
def test_words_begin_where_a_reader_says(tokenizer, text, words):
    assert cut(tokenizer, text) == words


def test_scripts_without_spaces_are_cut_at_every_token():
    assert cut(CHARACTERS, "有光。 light 光") == ["有", "光", "。", " light", " 光"]


@both
@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab. ’é光x\n", max_size=20))
def test_words_join_to_the_tokens(tokenizer, text):
    tokens = tokenizer.encode(text)
    words = Segmenter(tokenizer)(tokens)
    assert [token for word in words for token in word] == tokens.tolist()
    assert all(words)


def test_tokens_that_are_no_text_are_words_each():
    assert Segmenter(None)(np.array([3, 1, 3])) == [(3,), (1,), (3,)]
