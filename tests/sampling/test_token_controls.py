import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import InvalidRecipe, RequestError, Unsupported
from miaobi.generation import generate, stream
from miaobi.sampling.decoding import Engine, Output, Request, decode
from miaobi.sampling.penalties import Repeats
from miaobi.sampling.streaming import TextStream, find_stop
from miaobi.sampling.token_controls import TokenControls
from miaobi.types import Field
from tests.sampling.token_worlds import network, texts, writer


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": 1e9}, "temperature"),
        ({"top_k": 0}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"min_p": 2}, "min_p"),
        ({"max_length": -3}, "max_length"),
        ({"max_length": 10**12}, "max_length"),
        ({"no_repeat_ngram": 0}, "no_repeat_ngram"),
        ({"logit_bias": {3: 1000}}, "logit_bias"),
        ({"stop": [""]}, "stop"),
        ({"best_of": 0}, "best_of"),
        ({"choices": []}, "choices"),
        ({"temperature": 0, "top_p": 0.5}, "top_p can change nothing"),
        ({"temperature": 0, "best_of": 2}, "best_of can change nothing"),
        ({"min_length": 5, "max_length": 4}, "min_length = 5 is more than max_length = 4"),
        ({"regex": "a", "choices": ["a"]}, "contradict"),
        ({"regex": "a", "stop": "b"}, "leave stop"),
        ({"topp": 0.5}, "did you mean top_p"),
    ],
)
def test_what_cannot_be_meant_is_refused(controls, words):
    with pytest.raises(InvalidRecipe, match=words):
        TokenControls.parse(controls, "control")


def test_controls_survive_json():
    controls = TokenControls.parse({"logit_bias": {"7": 1.5}, "text_bias": {"7": -1}, "stop": "x"})
    assert controls.logit_bias == {7: 1.5}
    assert TokenControls.parse(controls.to_json()) == controls


def run(limit=20, **options):
    wanted = [Request((10, 3), 1, seed, limit, **options) for seed in range(8)]
    return [tokens for tokens, _ in decode(Engine(network("gru"), Output(10, end=9)), wanted)]


def test_bias_makes_a_token_certain_or_impossible():
    assert all(set(tokens) == {4} for tokens in run(bias={4: 100.0}))
    assert not any(4 in tokens for tokens in run(bias={4: -100.0}))


def test_no_end_comes_before_the_least_length():
    lengths = [len(tokens) for tokens in run(bias={9: 50.0}, shortest=6)]
    assert lengths == [7] * 8


def test_no_sequence_comes_twice():
    for tokens in run(limit=30, controls=TokenControls(no_repeat_ngram=2, temperature=0.3)):
        pairs = list(zip([3, *tokens], tokens, strict=False))
        assert len(set(pairs)) == len(pairs)


@given(st.integers(1, 4), st.lists(st.integers(0, 2), max_size=12), st.integers(0, 2))
def test_what_is_banned_is_what_would_repeat(size, tokens, token):
    grams = [tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)]
    again = tuple([*tokens, token][-size:]) in grams
    assert (token in Repeats(size, tokens).banned()) == again


def test_the_best_of_several_is_the_most_likely_a_token():
    net = network("lstm")

    def one(seed, **controls):
        wanted = Request((10, 3), 1, seed, 8, TokenControls(**controls))
        return decode(Engine(net, Output(10, end=9)), [wanted])[0]

    means = [[total / len(tokens) for tokens, total in (one(s), one(s, best_of=8))] for s in range(6)]
    assert all(best >= plain - 1e-5 for plain, best in means)
    assert any(best > plain for plain, best in means)
    assert one(1, best_of=8) == one(1, best_of=8)


class Letters:
    def push(self, token):
        return "abc"[token]

    def finish(self):
        return ""


@given(st.lists(st.integers(0, 2), max_size=20), st.lists(st.text("abc", min_size=1, max_size=4), max_size=3))
def test_a_stream_is_the_text_up_to_the_first_stop_string_to_come(tokens, stops):
    text = "".join("abc"[token] for token in tokens)
    watched = TextStream(Letters(), stops)
    shown, read = "", ""
    for token in tokens:
        shown += watched.push(token)
        read += "abc"[token]
        if watched.stopped:
            break
    shown += watched.finish()
    assert shown == (read[: find_stop(read, stops)] if watched.stopped else text)
    assert watched.stopped == any(stop in text for stop in stops)


def test_a_text_stops_before_its_stop_string_and_generate_streams_the_same():
    model = writer("bpe", texts=["ab ba 世界 aab bba "] * 4, vocabulary=270, length=50)
    controls = {"stop": ["b", "世"], "text_bias": {"a": 4.0, "b": 3.0, " ": 3.0}}
    (whole,) = generate(model, prompt="ab ", controls=controls, seed=4)
    assert "ab " + "".join(stream(model, prompt="ab ", controls=controls, seed=4)) == whole.text
    assert "b" not in whole.text[3:]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "number of items"),
        ({"n": -1}, "number of items"),
        ({"n": 10**9}, "number of items"),
        ({"seed": -1}, "seed"),
        ({"prompt": ""}, "empty"),
        ({"prompt": "Ωmega"}, "not in the model's vocabulary.*Ω"),
        ({"prompt": "x" * 100}, "no room"),
        ({"prompt": "x" * 100, "controls": {"max_length": 50}}, "no room"),
        ({"controls": {"min_length": 100}}, "min_length"),
        ({"controls": {"logit_bias": {"5000": 1}}}, "no such token"),
        ({"controls": {"text_bias": {"two": 1}}}, "not the text of one token"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(options, words):
    with pytest.raises(RequestError, match=words):
        generate(writer(), **options)


def test_bad_calls_of_the_engine_are_refused():
    family = writer().family
    with pytest.raises(RequestError, match="room for a request"):
        family.engine(0)
    with pytest.raises(RequestError, match="0 seeds"):
        family.sample({}, seeds=torch.zeros(0, dtype=torch.int64))
    with pytest.raises(RequestError, match="does not exist"):
        family.sample({}, prefix=Field(torch.tensor([[10**6]])), seeds=torch.tensor([1]))
    with pytest.raises(RequestError, match="best of"):
        family.stream({}, controls=family.Controls(best_of=2), seed=1)
    with pytest.raises(RequestError, match="seed"):
        family.engine(1).add({}, controls=family.Controls(), seed=2**70)
    family.tokenizer = None
    with pytest.raises(Unsupported, match="streaming"):
        family.stream({}, seed=1)


def test_a_least_length_counts_the_prefix():
    one = writer()
    assert min(len(text) for text in texts(one, 20, min_length=12)) >= 12


def test_a_stream_that_is_closed_before_it_begins_leaves_its_slot():
    family = writer().family
    engine = family.engine(1)
    pieces = engine.stream({}, controls=family.Controls(), seed=1)
    pieces.close()
    assert len(engine) == 0
    assert "".join(engine.stream({}, controls=family.Controls(max_length=5), seed=1))
    assert len(engine) == 0
