"""However an item is decoded, it is the same item: for every token network and counts, over random requests.

What is decoded alone is held against an oracle that knows no cache, engine or batch; everything else against what is
decoded alone. Two may differ where the oracle says that the choice was a near-tie, and few may.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from miaobi.families._token_requests import TokenEngine
from miaobi.modalities import _tokenizers
from miaobi.networks._recurrent import RecurrentCache
from miaobi.networks._transformer_decoding import TransformerCache
from miaobi.sampling.beam import search
from miaobi.sampling.decoding import Engine, Output, Request, decode
from miaobi.sampling.drawing import Drawing
from miaobi.sampling.noise import derive_one
from miaobi.sampling.streaming import TextStream
from miaobi.types import Field
from tests.sampling.oracle import NEAR, beam, choices, text_of
from tests.sampling.random_worlds import COUNTS, NAMES, READING, STEM, scenes
from tests.sampling.token_worlds import END, SIZE, network, require_equal, writer

every = pytest.mark.parametrize("name", NAMES)
every_writer = pytest.mark.parametrize("name", [name for name in NAMES if name not in {COUNTS, *READING}])
SCENES, BEAMS = 100, 12
MOST_EXCUSED = 0.005


@dataclass
class Tally:
    """Comparisons, and those whose difference was a near-tie."""

    compared: int = 0
    excused: int = 0

    def excuse(self, margin: float, what: str) -> None:
        assert margin < NEAR, f"{what}: another token where the choice was clear by {margin:.2g}"
        self.excused += 1

    def require_few_excuses(self) -> None:
        assert self.excused <= MOST_EXCUSED * self.compared


@dataclass
class Alone:
    """An item by itself; ``certain`` is how many tokens the oracle would have chosen, too."""

    item: object
    request: Request
    tokens: list[int]
    log_prob: float


def request_of(world, item):
    return world.family.engine(1).make(
        item.fields(world), item.start(), None, item.controls, torch.tensor([item.seed])
    )[0]


def fresh(world):
    return Engine(world.family.engine(1).inner.network, world.family.layout.outputs)


def alone(world, item, tally):
    """Decoded by itself and held against the oracle."""
    wanted = request_of(world, item)
    tokens, log_prob = decode(fresh(world), [wanted])[0]
    if item.controls.best_of > 1:
        require_best(world, item, wanted, (tokens, log_prob), tally)
    else:
        require_chosen(world, item, wanted, tokens, log_prob, tally)
    return Alone(item, wanted, tokens, log_prob)


def require_chosen(world, item, wanted, tokens, log_prob, tally):
    tally.compared += 1
    should = choices(world, item, wanted, tokens)
    for place, (mine, its) in enumerate(zip(tokens, should, strict=True)):
        if mine != its.token:
            tally.excuse(its.margin, f"cached and uncached, token {place}")
            return
    require_end(world, wanted, tokens)
    assert abs(sum(one.log_prob for one in should) - log_prob) < 1e-3


def require_end(world, wanted, tokens):
    end, stops = world.family.layout.end, wanted.controls.stop
    assert end not in tokens[:-1]
    body = tokens[:-1] if tokens[-1] == end else tokens
    stopped = text_of(wanted.tokens[wanted.head :], body, stops)[1]
    assert stopped in (None, len(tokens))
    assert len(tokens) == wanted.limit or tokens[-1] == end or stopped is not None


def require_best(world, item, wanted, found, tally):
    controls = item.controls.model_copy(update={"best_of": 1})
    seeds = [item.seed, *(derive_one(item.seed, "candidate", i) for i in range(1, item.controls.best_of))]
    made = [alone(world, replace(item, controls=controls, seed=seed), tally) for seed in seeds]
    means = sorted((one.log_prob / len(one.tokens) for one in made), reverse=True)
    best = max(made, key=lambda one: one.log_prob / len(one.tokens))
    tally.compared += 1
    if best.tokens != found[0]:
        tally.excuse(means[0] - means[1], "the best of several")


def require_same(world, one, tokens, tally, what):
    """``tokens`` are an item's, decoded in another way."""
    tally.compared += 1
    if tokens == one.tokens:
        return
    assert one.item.controls.best_of == 1, what
    place = next((p for p, pair in enumerate(zip(one.tokens, tokens, strict=False)) if pair[0] != pair[1]), None)
    assert place is not None, f"{what}: one is cut short"
    tally.excuse(choices(world, one.item, one.request, one.tokens)[place].margin, what)


def require_batched(world, made, tally):
    for one, (tokens, _) in zip(made, decode(fresh(world), [one.request for one in made]), strict=True):
        require_same(world, one, tokens, tally, "batched")


def require_joined(world, made, tally):
    """Items join and leave one engine, which remembers beginnings; then all come again."""
    engine: TokenEngine = world.family.engine(2)
    for turn in ("joined late", "prefix reused"):
        names, tokens = {}, {}
        for one in (one for one in made if one.item.controls.best_of == 1):
            while len(engine) == 2:
                collect(engine, names, tokens)
            item = one.item
            number = engine.add(item.fields(world), prefix=item.start(), controls=item.controls, seed=item.seed)
            names[number], tokens[number] = one, []
            for _ in range(item.waits):
                collect(engine, names, tokens)
        while len(engine):
            collect(engine, names, tokens)
        for number, one in names.items():
            told = tokens[number]
            left = one.item.leaves is not None and len(told) == one.item.leaves
            require_same(world, replace(one, tokens=one.tokens[: len(told)]) if left else one, told, tally, turn)


def collect(engine, names, tokens):
    for number, token, _, _ in engine.step():
        tokens[number].append(token)
        if names[number].item.leaves == len(tokens[number]):
            engine.remove(number)


def require_streamed(world, one, tally):
    item = one.item
    if item.controls.best_of > 1:
        return
    tally.compared += 1
    pieces = list(world.family.stream(item.fields(world), prefix=item.start(), controls=item.controls, seed=item.seed))
    body = one.tokens[:-1] if one.tokens[-1] == world.family.layout.end else one.tokens
    assert "".join(pieces) == text_of(one.request.tokens[one.request.head :], body, item.controls.stop)[0]
    assert all(pieces)


def require_sampled(world, one):
    item = one.item
    made = world.family.sample(
        item.fields(world), prefix=item.start(), controls=item.controls, seeds=torch.tensor([item.seed])
    )
    body = one.tokens[:-1] if one.tokens[-1] == world.family.layout.end else one.tokens
    assert made.values[0].tolist() == [*one.request.tokens[one.request.head :], *body]
    assert made.lengths.tolist() == [made.values.shape[1]]


def require_equalities(scene, tally):
    world, wanted = scene
    with warnings.catch_warnings():
        # What bans leave nothing to draw is random here.
        warnings.filterwarnings("ignore", "no token was left")
        made = [alone(world, item, tally) for item in wanted]
        require_batched(world, made, tally)
        require_joined(world, made, tally)
        if made[0].item.seed % 2:
            require_streamed(world, made[0], tally)
        else:
            require_sampled(world, made[0])


@every
def test_however_an_item_is_drawn_it_is_the_same(name):
    tally = Tally()

    @settings(max_examples=SCENES, phases=[Phase.generate], report_multiple_bugs=False)
    @given(scenes(name))
    def check(scene):
        require_equalities(scene, tally)

    check()
    assert tally.compared > 5 * SCENES
    tally.require_few_excuses()


@every
def test_beams_together_are_as_alone_and_without_a_cache(name):
    tally = Tally()

    @settings(max_examples=BEAMS)
    @given(scenes(name, beams=3), st.sampled_from([1.0, 1.0, 0.0, 2.5]))
    def check(scene, guidance):
        world, wanted = scene
        if not world.family.conditions:
            guidance = 1.0
        net, output = world.family.engine(1).inner.network, world.family.layout.outputs
        controls = world.family.Controls(beams=3, guidance=guidance)
        wanted = [replace(item, controls=controls) for item in wanted]
        asked = [request_of(world, item) for item in wanted]
        asked = [replace(one, limit=min(one.limit, 5)) for one in asked]
        together = search(net, output, asked)
        for item, one, (tokens, log_prob) in zip(wanted, asked, together, strict=True):
            should, total, margin = beam(world, item, one)
            for what, found in (("together", tokens), ("alone", search(net, output, [one])[0][0])):
                tally.compared += 1
                if found != should:
                    tally.excuse(margin, f"a beam {what}")
            assert tokens != should or abs(total - log_prob) < 1e-3

    check()
    tally.require_few_excuses()


@every_writer
@pytest.mark.parametrize("tokenizer", ["character", "bpe"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_streamed_equals_whole_with_real_tokenizers(name, tokenizer, temperature):
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


class Counted:
    """A network that notes in ``fed`` how many tokens each prefill took."""

    limit = None

    def __init__(self, fed, inner):
        self.new_cache, self.step, self.inner, self.fed = inner.new_cache, inner.step, inner, fed

    def prefill(self, tokens, lengths, cache):
        self.fed.append(int(lengths.sum()))
        return self.inner.prefill(tokens, lengths, cache)


def test_a_prefix_that_is_shared_is_prefilled_once():
    fed = []

    counted, stem = (
        Engine(Counted(fed, network("transformer")), Output(SIZE, end=END), prefixes=2),
        (*STEM, *STEM, 3, 1, 4, 1),
    )
    wanted = [Request((10, *stem, last), 1, 0, 2) for last in range(4)]
    for one in wanted:
        decode(counted, [one])
    assert fed == [42, 41, 1, 1, 1]
    fed.clear()
    decode(counted, [Request(wanted[0].tokens[:5], 1, seed, 2) for seed in range(6)])
    assert fed == [5]


def test_a_whole_context_that_comes_again_and_again_is_prefilled_twice_at_most():
    fed = []

    engine = Engine(Counted(fed, network("transformer")), Output(SIZE, end=END), slots=2)
    wanted = [Request((10, 1), 1, seed, 2 + seed % 5) for seed in range(12)]
    together = decode(engine, wanted)
    assert fed == [2, 2]
    others = [Request((10, 2), 1, 5, 4), wanted[3], Request((10, 2), 1, 6, 4)]
    alone = [decode(Engine(network("transformer"), Output(SIZE, end=END)), [one])[0] for one in (*wanted, *others)]
    for one, made, its in zip(
        (*wanted, *others), [*together, *(decode(engine, [o])[0] for o in others)], alone, strict=True
    ):
        require_equal(network("transformer"), one, made[0], its[0])


def forget_the_number(self, *given):
    """As if a request's random numbers began anew when its neighbours change."""
    fresh_drawing(self, *given)
    self.counts = torch.zeros_like(self.counts)


fresh_drawing, step_of, join_of = Drawing.__init__, TransformerCache.step, RecurrentCache.join


def step_without_a_mask(self, tokens):
    """As if rows of different lengths were equally long."""
    self.level, self.longest = True, int(self.lengths.max())
    return step_of(self, tokens)


def join_swapped(self, other):
    """As if the rows that join came first."""
    return join_of(other, self)


@pytest.mark.parametrize(
    ("name", "owner", "method", "mistake"),
    [
        ("gru", Drawing, "__init__", forget_the_number),
        ("transformer", TransformerCache, "step", step_without_a_mask),
        ("encoder_decoder", TransformerCache, "step", step_without_a_mask),
        ("lstm", RecurrentCache, "join", join_swapped),
    ],
)
def test_planted_mistakes_are_found(monkeypatch, name, owner, method, mistake):
    monkeypatch.setattr(owner, method, mistake)

    @settings(max_examples=30, phases=[Phase.generate], report_multiple_bugs=False)
    @given(scenes(name))
    def check(scene):
        require_equalities(scene, Tally())

    with pytest.raises((AssertionError, IndexError)):
        check()
