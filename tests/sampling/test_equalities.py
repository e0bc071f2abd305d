"""However an item is decoded, it is the same item: for every token network, over random requests."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.modalities import _tokenizers
from miaobi.sampling.decoding import Engine, Output, Request, decode
from miaobi.sampling.streaming import TextStream
from miaobi.sampling.token_controls import TokenControls
from miaobi.types import Field
from tests.sampling.token_worlds import END, NETWORKS, SIZE, network, require_equal, uncached, writer

every = pytest.mark.parametrize("name", NETWORKS)
few = settings(max_examples=5)
STEM = tuple(torch.randint(0, 8, (40,), generator=torch.Generator().manual_seed(3)).tolist())


@st.composite
def requests(draw, stem=0):
    tokens = (10, *STEM[: draw(st.integers(stem, 24))], *draw(st.lists(st.integers(0, 8), max_size=5)))
    controls = TokenControls(temperature=draw(st.sampled_from([0.0, 1.0])))
    return Request(tokens, 1, draw(st.integers(0, 2**40)), draw(st.integers(1, 12)), controls)


def engine(name, **options):
    return Engine(network(name), Output(SIZE, end=END), **options)


def alone(name, request):
    return decode(engine(name), [request])[0][0]


@every
@few
@given(wanted=requests())
def test_cached_equals_uncached(name, wanted):
    require_equal(network(name), wanted, alone(name, wanted), uncached(network(name), wanted))


@every
@few
@given(wanted=st.lists(requests(), min_size=2, max_size=4))
def test_batched_equals_alone(name, wanted):
    for one, (tokens, _) in zip(wanted, decode(engine(name), wanted), strict=True):
        require_equal(network(name), one, tokens, alone(name, one))


@every
@few
@given(wanted=st.lists(requests(), min_size=2, max_size=5), gaps=st.lists(st.integers(0, 4), min_size=5, max_size=5))
def test_joining_and_leaving_equals_alone(name, wanted, gaps):
    shared, tokens, names = engine(name, slots=5), {}, {}
    for index, (one, gap) in enumerate(zip(wanted, gaps, strict=False)):
        names[shared.add([one])[0]] = index
        for _ in range(gap):
            collect(shared, tokens, names)
    while len(shared):
        collect(shared, tokens, names)
    for index, one in enumerate(wanted):
        require_equal(network(name), one, tokens[index], alone(name, one))


def collect(shared, tokens, names):
    for number, token, _, _ in shared.step():
        tokens.setdefault(names[number], []).append(token)


@every
@few
@given(wanted=st.lists(requests(stem=16), min_size=3, max_size=5))
def test_a_shared_prefix_equals_a_fresh_one(name, wanted):
    shared = engine(name, prefixes=2)
    for one in wanted:
        require_equal(network(name), one, decode(shared, [one])[0][0], alone(name, one))
    for one, (tokens, _) in zip(wanted, decode(shared, wanted), strict=True):
        require_equal(network(name), one, tokens, alone(name, one))
    assert 1 <= len(shared.prefixes) <= 2


@every
@pytest.mark.parametrize("tokenizer", ["character", "bpe"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_streamed_equals_whole(name, tokenizer, temperature):
    model = writer(tokenizer, name, ["世界 café 世界 déjà 界世 " * 8] * 4, length=24)
    family, text = model.family, model.modality
    controls = family.Controls(temperature=temperature, stop=("世a", "é"))
    prefix = Field(torch.from_numpy(text.tokenizer.encode("世界"))[None])
    for seed in range(3):
        pieces = list(family.stream({}, prefix=prefix, controls=controls, seed=seed))
        made = family.sample({}, prefix=prefix, controls=controls, seeds=torch.tensor([seed]))
        start = prefix.values.shape[1]
        stream = TextStream(text.tokenizer.streamer(), controls.stop)
        whole = "".join(map(stream.push, made.values[0, start:].tolist())) + stream.finish()
        assert "".join(pieces) == whole
        assert all(pieces)
        assert _tokenizers.REPLACEMENT not in "".join(pieces[:-1]) or tokenizer == "bpe"


def test_a_prefix_that_is_shared_is_prefilled_once():
    fed = []

    class Counted:
        limit = None

        def __init__(self, inner):
            self.new_cache, self.step, self.inner = inner.new_cache, inner.step, inner

        def prefill(self, tokens, lengths, cache):
            fed.append(int(lengths.sum()))
            return self.inner.prefill(tokens, lengths, cache)

    counted = Engine(Counted(network("transformer")), Output(SIZE, end=END), prefixes=2)
    wanted = [Request((10, *STEM, last), 1, 0, 2) for last in range(4)]
    for one in wanted:
        decode(counted, [one])
    assert fed == [42, 41, 1, 1, 1]
    fed.clear()
    decode(counted, [Request(wanted[0].tokens[:5], 1, seed, 2) for seed in range(6)])
    assert fed == [5]
