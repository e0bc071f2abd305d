import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi import modalities
from miaobi.errors import DataError
from miaobi.generation._gaps import gapped

POEMS = ["牀前明月光，疑是地上霜。", "舉頭望明月，低頭思故鄉。"] * 40
LETTERS = "牀前明月光，疑是地上霜。舉頭望低思故鄉"


def tokenizer(kind="character", texts=POEMS):
    made = modalities.create({"name": "text", "tokenizer": kind})
    made.fit(texts)
    return made.tokenizer


CHARACTERS = tokenizer()
SUBWORDS = tokenizer("bpe", [*POEMS, "the moon is bright before the bed"] * 5)


@pytest.mark.parametrize("mark", ["_", "□"])
def test_each_mark_is_one_character(mark):
    made = gapped(f"牀前{mark}{mark}光\n", None, CHARACTERS, 20)
    assert made.gaps.tolist() == [False, False, True, True, False]
    assert made.tokens.tolist() == [*CHARACTERS.encode("牀前"), 0, 0, *CHARACTERS.encode("光")]
    filled = made.tokens.copy()
    filled[2:4] = CHARACTERS.encode("明月")
    assert made.filled(filled, CHARACTERS.decode) == "牀前明月光"


def test_what_stays_stays_even_where_the_vocabulary_cannot_spell_it():
    made = gapped("A  ☃_月\t_", None, CHARACTERS, 20)
    assert made.filled(np.full(8, CHARACTERS.encode("上")[0]), CHARACTERS.decode) == "A  ☃上月\t上"


@settings(max_examples=60, deadline=None)
@given(st.text(LETTERS + "_□ ☃", min_size=1, max_size=20), st.sampled_from([CHARACTERS, SUBWORDS]))
def test_gaps_of_marks_are_filled_and_nothing_else_changes(text, kind):
    if not set(text) & set("_□"):
        with pytest.raises(DataError, match="no gap"):
            gapped(text, None, kind, 200)
        return
    made = gapped(text, None, kind, 200)
    assert int(made.gaps.sum()) == sum(text.count(mark) for mark in "_□")
    moon = kind.encode("a" if kind is SUBWORDS else "月")[0]
    letter = kind.decode(np.array([moon]))
    expected = "".join(letter if one in "_□" else one for one in text)
    assert made.filled(np.full(len(made.tokens), moon), kind.decode) == expected


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from([CHARACTERS, SUBWORDS]))
def test_a_mask_opens_the_tokens_that_it_marks_and_their_own_tokens_give_the_text_back(data, kind):
    text = data.draw(st.text(LETTERS + "the moon_", min_size=1, max_size=20))
    marks = data.draw(st.lists(st.booleans(), min_size=len(text), max_size=len(text)))
    mask = "".join("□" if marked else "." for marked in marks)
    if not any(marks):
        with pytest.raises(DataError, match="no gap"):
            gapped(text, mask, kind, 200)
        return
    made = gapped(text, mask, kind, 200)
    assert made.filled(kind.encode(text), kind.decode) == text or kind is CHARACTERS
    kept = "".join(piece for piece in made.pieces if isinstance(piece, str))
    assert len(kept) <= marks.count(False)
    if kind is CHARACTERS:
        assert made.gaps.tolist() == marks


def test_every_token_of_a_marked_character_is_open():
    made = gapped("the ☃ moon", "    _     ", SUBWORDS, 200)
    snow = len(SUBWORDS.encode("☃"))
    assert snow > 1
    assert int(made.gaps.sum()) >= snow
    assert "☃" not in "".join(piece for piece in made.pieces if isinstance(piece, str))


def test_what_cannot_be_filled_in_is_refused():
    with pytest.raises(DataError, match="no gap"):
        gapped("牀前明月光", None, CHARACTERS, 20)
    with pytest.raises(DataError, match="not as long"):
        gapped("牀前明月光", "__", CHARACTERS, 20)
    with pytest.raises(DataError, match="shorter passage"):
        gapped("牀前明月_", None, CHARACTERS, 4)


def test_a_mark_that_the_text_has_too_is_the_texts_own():
    made = gapped("snake_case abc", "snake_case □bc", CHARACTERS, 200)
    assert made.gaps.tolist() == [False] * 11 + [True, False, False]
    made = gapped("snake_case abc", "snake_case _bc", CHARACTERS, 200)
    assert made.gaps.tolist() == [False] * 11 + [True, False, False]
