"""Keywords and lines: held whatever is drawn, refused where they do not fit, and left alone where they are there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from miaobi.errors import InvalidRecipe, RequestError, Unsupported
from miaobi.sampling.contents import Contents, Writer, count_lines
from miaobi.sampling.requests import Output
from miaobi.sampling.token_controls import TokenControls
from tests.sampling.test_constraints import metaspace
from tests.sampling.token_worlds import texts, writer


@pytest.fixture(scope="module", params=["character", "bpe"])
def model(request):
    return writer(request.param, **({"vocabulary": 280} if request.param == "bpe" else {}))


@pytest.mark.parametrize(
    ("controls", "holds"),
    [
        ({"keywords": ["moon", "sea"]}, lambda text: "moon" in text and "sea" in text),
        ({"keywords": "世界"}, lambda text: "世界" in text),
        ({"lines": 3}, lambda text: count_lines(text) == 3),
        ({"lines": [2, 4], "keywords": ["moon"]}, lambda text: 2 <= count_lines(text) <= 4 and "moon" in text),
        ({"lines": [0, 1]}, lambda text: count_lines(text) <= 1),
    ],
    ids=["words", "chinese", "exactly", "both", "most"],
)
def test_fifty_seeds_hold_what_is_asked_for(model, controls, holds):
    made = texts(model, 50, max_length=40, **controls)
    assert all(map(holds, made))
    assert len(set(made)) > 25


@pytest.mark.filterwarnings("ignore:no token was left to draw")
def test_it_holds_with_every_other_control(model):
    others = {"temperature": 3.0, "top_k": 3, "no_repeat_ngram": 1, "repetition_penalty": 5.0, "text_bias": {"x": 50.0}}
    made = texts(model, 8, keywords=["sea"], lines=[2, 2], max_length=24, **others)
    assert all("sea" in text and count_lines(text) == 2 for text in made)
    made = texts(model, 1, keywords=["sea"], max_length=24, temperature=0)
    assert "sea" in made[0]


def test_the_shortest_limit_is_met_and_a_shorter_one_refused(model):
    with pytest.raises(RequestError, match="do not fit") as caught:
        texts(model, 1, keywords=["aurora"], lines=[3, 3], max_length=2)
    least = int(str(caught.value).split("at least ")[1].split()[0])
    made = texts(model, 3, keywords=["aurora"], lines=[3, 3], max_length=least)
    assert all("aurora" in text and count_lines(text) == 3 for text in made)


def guard_of(*keywords, lines=None, limit=40):
    one = writer()
    output = one.family.layout.outputs
    made = Contents(Writer(one.modality.tokenizer, output, after=False), keywords, lines)
    return one.modality.tokenizer, output, made.begin(limit)


def test_a_text_that_has_them_by_itself_is_left_as_it_is():
    tokenizer, output, guard = guard_of("sea", lines=(1, 1))
    assert all(guard.admit(token) for token in tokenizer.encode("by the sea").tolist())
    allowed = guard.allowed()
    assert allowed[output.end]
    assert not allowed[tokenizer.newline]
    assert guard.known() == output.end
    assert guard.admit(output.end)


def test_a_text_that_would_end_too_early_goes_on_with_what_is_missing():
    tokenizer, output, guard = guard_of("sea", lines=(2, 2))
    drawn = tokenizer.encode("ab").tolist()
    assert all(guard.admit(token) for token in drawn)
    # Asked at every step, it never ends early; in between it takes what is drawn.
    while not guard.admit(output.end):
        token = int(tokenizer.encode("c")[0])
        if not guard.allowed()[token] or not guard.admit(token):
            token = guard.known()
            assert guard.admit(token)
        drawn.append(token)
    assert tokenizer.decode(np.array(drawn)) == "ab sea\nc"


def test_a_keyword_within_another_is_not_written_twice():
    tokenizer, output, guard = guard_of("art", "party")
    drawn = []
    while (token := guard.known()) != output.end:
        assert guard.admit(token)
        drawn.append(token)
    assert tokenizer.decode(np.array(drawn)) == " party"


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.text("abc世", min_size=1, max_size=4), max_size=3), st.integers(0, 3))
def test_whatever_is_tried_the_way_out_stays_open(seed, keywords, fewest):
    tokenizer, output, guard = guard_of(*keywords, lines=(fewest, fewest + 1), limit=30)
    rng, drawn = np.random.default_rng(seed), []
    letters = tokenizer.encode("abc世\n ").tolist()
    while len(drawn) < 30:
        token = int(rng.choice([*letters, output.end]))
        if not guard.allowed()[token] or not guard.admit(token):
            token = guard.known()
            assert guard.admit(token)
        if token == output.end:
            break
        drawn.append(token)
    text = tokenizer.decode(np.array(drawn))
    assert all(word in text for word in keywords)
    assert fewest <= count_lines(text) <= fewest + 1


@pytest.mark.parametrize("after", [False, True])
def test_tokens_that_depend_on_their_place_are_told_apart(after):
    tokenizer = metaspace()
    tokenizer._engine.pre_tokenizer = pre_tokenizers.Metaspace()
    made = Contents(Writer(tokenizer, Output(11, end=10), after=after), ["cat"], None)
    guard, drawn = made.begin(6), []
    while (token := guard.known()) != 10:
        assert guard.admit(token)
        drawn.append(token)
    assert "cat" in tokenizer.decode(np.array(drawn))


def test_a_prefix_is_not_part_of_it():
    import torch

    from miaobi.types import Field

    one = writer()
    prefix = Field(torch.from_numpy(one.modality.tokenizer.encode("sea:"))[None].expand(6, -1))
    assert all(text.count("sea") >= 2 for text in texts(one, 6, prefix=prefix, keywords="sea", max_length=20))


def test_what_cannot_be_held_is_refused_before_anything_is_drawn():
    small = writer()
    small.family.network.step = None
    with pytest.raises(RequestError, match="vocabulary cannot write"):
        texts(small, 1, keywords="Ω")
    with pytest.raises(RequestError, match="no number of tokens"):
        texts(small, 1, keywords="moon", lines=0)
    with pytest.raises(Unsupported, match="no end"):
        texts(writer(stream=True, context=30), 1, keywords="moon")


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({"keywords": "a", "regex": "a"}, "contradict"),
        ({"lines": 2, "choices": "a"}, "contradict"),
        ({"keywords": "a", "stop": "b"}, "where the text ends"),
        ({"lines": 2, "min_length": 3}, "where the text ends"),
        ({"lines": [3, 2]}, "fewest come first"),
        ({"lines": [0, 10**6]}, "lines"),
        ({"keywords": [""]}, "keywords"),
        ({"keywords": ["two\nlines"]}, "keywords"),
        ({"keywords": [" a"]}, "keywords"),
    ],
)
def test_controls_that_contradict_are_refused(controls, message):
    with pytest.raises(InvalidRecipe, match=message):
        TokenControls.parse(controls)
    assert TokenControls.parse({"keywords": ["New York"], "lines": 4}).lines == (4, 4)
