import json
import re
import sys
from time import thread_time

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models

from miaobi.errors import InvalidRecipe, MissingExtra, RequestError, Unsupported
from miaobi.modalities._subwords import Subwords
from miaobi.sampling.constraints import Constraint
from miaobi.sampling.drawing import _obedient
from miaobi.sampling.requests import Active, Output, Request
from miaobi.sampling.spelling import Spelling
from miaobi.sampling.token_controls import TokenControls
from tests.sampling.token_worlds import texts, writer

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "boolean"}},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
REGEX = r"[a-z]{3,5}@[a-z]+\.(com|org)"
CHOICES = ["yes", "no", "maybe 世界"]


def is_of_schema(text):
    value = json.loads(text)
    return (
        list(value) == ["name", "age", "tags"]
        and type(value["name"]) is str
        and type(value["age"]) is int
        and all(type(tag) is bool for tag in value["tags"])
    )


CASES = [
    ({"json_schema": SCHEMA}, is_of_schema),
    ({"regex": REGEX}, re.compile(REGEX).fullmatch),
    ({"choices": CHOICES}, CHOICES.__contains__),
]


@pytest.fixture(scope="module", params=["character", "bpe"])
def model(request):
    return writer(request.param, **({"vocabulary": 280} if request.param == "bpe" else {}))


@pytest.mark.parametrize(("controls", "holds"), CASES, ids=["json", "regex", "choices"])
def test_a_hundred_seeds_keep_to_it(model, controls, holds):
    made = texts(model, 100, max_length=36, **controls)
    assert all(map(holds, made))
    assert len(set(made)) > 2


def test_it_holds_with_every_other_control(model):
    others = {"temperature": 3.0, "top_k": 3, "no_repeat_ngram": 1, "repetition_penalty": 5.0, "text_bias": {"x": 50.0}}
    with pytest.warns(UserWarning, match="no_repeat_ngram or min_length gave way"):
        assert all(map(re.compile(REGEX).fullmatch, texts(model, 10, regex=REGEX, max_length=40, **others)))
    assert all(map(re.compile(REGEX).fullmatch, texts(model, 1, regex=REGEX, max_length=40, temperature=0)))


def test_it_is_closed_at_the_shortest_limit_and_refused_below(model):
    with pytest.raises(RequestError, match="too long") as caught:
        texts(model, 1, regex="a{7}b", max_length=2)
    least = int(re.search(r"at least (\d+)", str(caught.value))[1])
    assert texts(model, 5, regex="a{7}b", max_length=least) == ["aaaaaaab"] * 5


def test_where_there_is_no_end_token_it_ends_where_nothing_may_follow():
    endless = writer(stream=True, context=30)
    assert texts(endless, 10, choices=["yes", "no"], max_length=20) != []
    assert {text.strip("\n") for text in texts(endless, 10, choices=["yes", "no"], max_length=20)} == {"yes", "no"}
    for text in texts(endless, 10, regex="(ab)+", max_length=10):
        assert re.fullmatch(r"\n(ab)+", text)


def test_a_branch_that_the_vocabulary_cannot_write_is_never_taken():
    small = writer(texts=["abc"] * 3)
    assert set(texts(small, 20, regex="az|b")) == {"b"}


@pytest.mark.parametrize(
    "controls",
    [
        {"regex": "("},
        {"regex": "a[^\\s\\S]"},
        {"regex": "\\bword"},
        {"choices": ["Ω"]},
        {"json_schema": {"type": "strin"}},
        {"json_schema": {"type": "integer", "minimum": 5, "maximum": 3}},
        {"json_schema": {"type": "array", "uniqueItems": True}},
    ],
)
def test_an_impossible_one_is_refused_before_anything_is_drawn(controls):
    small = writer()
    small.family.network.step = None
    with pytest.raises(RequestError, match="what to do"):
        texts(small, 1, **controls)


def test_it_needs_a_text_and_the_extra(monkeypatch):
    one = writer()
    one.family.tokenizer = None
    with pytest.raises(Unsupported, match="not the tokens of a text"):
        texts(one, 1, regex="a")
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtra, match="constraints"):
        texts(writer(), 1, regex="never asked for before")


def test_the_search_for_a_first_way_is_bounded_in_time():
    small = writer("bpe", vocabulary=280)
    begun = thread_time()
    with pytest.raises(RequestError, match="no text was found"):
        texts(small, 1, regex="[a-z ]*\u03a9{3}([a-z ]{9}){90}", max_length=10**6)
    assert thread_time() - begun < 2


def metaspace():
    """A published tokenizer whose tokens depend on their place: spaces lie between words, none before the first."""
    words = ["<unk>", "▁the", "▁cat", "s", "a", "t", "▁", "<0xE4>", "the", "!"]
    engine = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    engine.decoder = decoders.Metaspace()
    return Subwords(engine)


def test_tokens_that_depend_on_their_place_are_spelled_as_they_are_written():
    tokenizer = metaspace()
    later, first = tokenizer.words()
    assert (later[1], first[1]) == (b" the", b"the")
    spelling = Spelling(tokenizer, Output(10, end=None))
    constraint = spelling.constraint(TokenControls(regex="the cats( the)*"), after=False)
    assert isinstance(constraint, Constraint)
    for seed in range(20):
        guard, drawn = constraint.begin(6), []
        order = np.random.default_rng(seed)
        while not guard.finished and len(drawn) < 6:
            options = np.flatnonzero(guard.allowed())
            token = int(order.choice(options))
            if not guard.admit(token):
                token = guard.known()
                assert guard.admit(token)
            drawn.append(token)
        assert re.fullmatch("the cats( the)*", tokenizer.decode(np.array(drawn)))


def test_a_prefix_is_not_part_of_it():
    from miaobi.types import Field

    one = writer()
    prefix = Field(torch.from_numpy(one.modality.tokenizer.encode("say: "))[None].expand(3, -1))
    assert all(re.fullmatch("say: (yes|no)", text) for text in texts(one, 3, prefix=prefix, choices=["yes", "no"]))


def test_after_a_prefix_tokens_are_spelled_as_they_are_written_there():
    spelling = Spelling(metaspace(), Output(10, end=None))
    first, later = (
        spelling.constraint(TokenControls(choices=("the",)), after=after).begin(3) for after in (False, True)
    )
    # The token that is written "the" at the start of a text is written " the" anywhere else.
    assert first.allowed()[[1, 8]].tolist() == [True, True]
    assert later.allowed()[[1, 8]].tolist() == [False, True]


def test_choices_are_bounded_together():
    with pytest.raises(InvalidRecipe, match="too long together"):
        TokenControls.parse({"choices": [f"{index:04d}" + "x" * 900 for index in range(200)]})


class Picky:
    """A guard that admits the tokens 2 and 9 alone, and knows 9."""

    def __init__(self):
        self.tried = []

    def admit(self, token):
        self.tried.append(token)
        return token in (2, 9)

    def known(self):
        return 9


def test_two_other_tokens_are_tried_before_the_known_way():
    request = Request((1,), 0, 1, 4, TokenControls(temperature=0))
    active = Active(0, request)
    active.guard = Picky()
    logits = torch.tensor([5.0, 4.0, 3.0] + [0.0] * 7)
    assert _obedient(active, logits, torch.tensor(0.5), 0) == 2
    assert active.guard.tried == [0, 1, 2]
