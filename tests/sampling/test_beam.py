import itertools
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from miaobi.errors import RequestError
from miaobi.networks.transformer import Transformer
from miaobi.sampling.beam import BeamControls, length_penalty, search
from miaobi.sampling.decoding import Engine, Output, Request, decode
from miaobi.types import Form, Spec
from tests.sampling.test_decoding import END, network

OUTPUT = Output(10, end=END)


def request(tokens=(10, 3), limit=8, beams=4, **controls):
    return Request(tokens, 1, 0, limit, BeamControls(beams=beams, **controls), free=(11, *tokens[1:]))


def greedy(net, wanted, output=OUTPUT):
    drawn = replace(wanted, controls=BeamControls(temperature=0))
    return decode(Engine(net, output), [drawn])[0]


class Table:
    """Next-token probabilities by what went before; rows of its cache are histories."""

    limit = None

    def __init__(self, table, vocabulary):
        self.table, self.vocabulary = table, vocabulary
        self.fed = 0

    def new_cache(self, rows, span, dtype=None):
        return Histories([()] * rows)

    def prefill(self, tokens, lengths, cache):
        cache.rows = [tuple(row[:length]) for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True)]
        return self._logits(cache)

    def step(self, tokens, cache):
        cache.rows = [(*row, token) for row, token in zip(cache.rows, tokens.tolist(), strict=True)]
        self.fed += len(cache.rows)
        return self._logits(cache)

    def _logits(self, cache):
        return torch.stack([torch.tensor(self.table(row[1:])).log() for row in cache.rows])


class Histories:
    def __init__(self, rows):
        self.rows = rows

    @property
    def lengths(self):
        return torch.tensor([len(row) for row in self.rows])

    def select(self, rows):
        return Histories([self.rows[row] for row in rows.tolist()])


def garden_path(history):
    """Token 0 looks better than 1, but what follows 0 is unsure and what follows 1 is not; 2 ends."""
    if history == ():
        return [0.6, 0.4, 1e-9]
    return [0.05, 0.05, 0.9] if history[0] == 1 else [0.35, 0.35, 0.3]


def test_a_beam_of_one_is_greedy():
    net = network()
    for first in range(8):
        wanted = request((10, first), limit=12, beams=1)
        tokens, log_prob = search(net, OUTPUT, [wanted])[0]
        expected = greedy(net, wanted)
        assert tokens == expected[0]
        assert log_prob == pytest.approx(expected[1], abs=1e-3)


def test_it_finds_what_greed_misses():
    net, output = Table(garden_path, 3), Output(3, end=2)
    one = request((9,), limit=4, beams=1, length_penalty=0)
    two = request((9,), limit=4, beams=2, length_penalty=0)
    (taken, small), (found, large) = (search(net, output, [wanted])[0] for wanted in (one, two))
    assert taken[0] == 0
    assert found == [1, 2]
    assert large == pytest.approx(torch.tensor(0.4 * 0.9).log().item(), abs=1e-5)
    assert large > small


def test_a_beam_of_everything_finds_the_best_of_all():
    net, limit = network(), 3
    best = {}
    for body in itertools.chain.from_iterable(itertools.product(range(END), repeat=n) for n in range(limit + 1)):
        tokens = [*body, END] if len(body) < limit else list(body)
        with torch.no_grad():
            logits = net(torch.tensor([[10, 3, *tokens]]))[0, 1:-1, :10]
        log_prob = float(logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).sum())
        best[tuple(tokens)] = log_prob / length_penalty(len(tokens), 0.6)
    # With so many beams candidates are left out at the last step only, where all are equally long.
    tokens, _ = search(net, OUTPUT, [request(limit=limit, beams=256)])[0]
    assert tuple(tokens) == max(best, key=best.get)


def test_requests_together_are_as_alone():
    net = network()
    wanted = [request((10, *range(n)), limit=3 + 2 * n, guidance=1.5) for n in range(5)]
    together = search(net, OUTPUT, wanted)
    for one, (tokens, log_prob) in zip(wanted, together, strict=True):
        alone = search(net, OUTPUT, [one])[0]
        assert tokens == alone[0]
        assert log_prob == pytest.approx(alone[1], abs=1e-3)


def test_log_probabilities_are_the_networks_with_guidance_too():
    net = network()
    for guidance in (1.0, 3.0):
        tokens, log_prob = search(net, OUTPUT, [request(guidance=guidance)])[0]
        with torch.no_grad():
            logits = net(torch.tensor([[10, 3, *tokens]]))[0, 1:-1, :10]
        expected = logits.log_softmax(-1).gather(1, torch.tensor(tokens)[:, None]).sum()
        assert log_prob == pytest.approx(float(expected), abs=1e-3)


def test_guidance_searches_by_the_guided_distribution():
    net = network()
    ignoring = search(net, OUTPUT, [request(guidance=0.0)])[0][0]
    free = Request((11, 3), 1, 0, 8, BeamControls(beams=4))
    assert ignoring == search(net, OUTPUT, [free])[0][0]
    assert ignoring != search(net, OUTPUT, [request()])[0][0]


def test_the_length_penalty_favours_longer_items():
    def table(history):
        return [0.5, 0.5] if len(history) < 6 else [0.01, 0.99]

    net, output = Table(table, 2), Output(2, end=1)
    lengths = [
        len(search(net, output, [request((9,), limit=12, beams=3, length_penalty=strength)])[0][0])
        for strength in (0.0, 10.0)
    ]
    assert lengths[0] == 1
    assert lengths[1] > 1
    assert length_penalty(1, 0.6) == 1
    assert length_penalty(7, 1.0) == 2


def test_it_stops_when_nothing_can_win_any_more():
    def table(history):
        return [0.01, 0.99]

    net, output = Table(table, 2), Output(2, end=1)
    assert search(net, output, [request((9,), limit=1000, beams=4, length_penalty=0)])[0][0] == [1]
    assert net.fed == 0


def test_poor_candidates_that_end_early_do_not_stop_a_good_one():
    def table(history):
        return [0.99, 0.01] if len(history) < 6 else [0.01, 0.99]

    net, output = Table(table, 2), Output(2, end=1)
    assert search(net, output, [request((9,), limit=20, beams=2)])[0][0] == [0] * 6 + [1]


def test_an_end_and_what_cannot_be_drawn_are_respected():
    net = network()
    endless = search(net, Output(5, end=None, banned=2, unknown=1), [request(limit=6)])[0][0]
    assert len(endless) == 6
    assert set(endless) <= {0, 3, 4}
    assert all(END not in tokens[:-1] for tokens, _ in search(net, OUTPUT, [request((10, n)) for n in range(6)]))


def test_an_item_that_outgrows_the_network_is_refused():
    small = network(span=8)
    assert len(search(small, Output(10), [request(limit=7)])[0][0]) == 7
    with pytest.raises(RequestError, match="max_length"):
        search(small, Output(10), [request(limit=8)])
    with pytest.raises(RequestError, match="start from"):
        search(small, OUTPUT, [replace(request(), tokens=())])


def test_controls_of_drawing_are_refused_beside_beams():
    assert BeamControls(beams=4, temperature=0, guidance=2, max_length=5).beams == 4
    assert BeamControls(temperature=0.5, top_k=3).beams is None
    for idle in ({"temperature": 0.5}, {"top_p": 0.9}, {"top_k": 5}, {"repetition_penalty": 1.2}):
        with pytest.raises(ValidationError, match="out, or beams"):
            BeamControls(beams=4, **idle)
    with pytest.raises(ValidationError, match="set beams too"):
        BeamControls(length_penalty=1.0)


def test_no_requests_give_nothing():
    port = Spec(Form.TOKENS, vocabulary=12, max_length=8)
    net = Transformer(Transformer.Config(width=32, depth=1, heads=2), port, port, {})
    assert search(net, OUTPUT, []) == []


def test_no_more_rows_at_once_than_are_allowed():
    net = Table(garden_path, 3)
    widest = []
    step = net.step

    def watched(tokens, cache):
        widest.append(len(tokens))
        return step(tokens, cache)

    net.step = watched
    together = [Request((0,), 0, seed, 6, BeamControls(beams=128)) for seed in range(9)]
    alone = search(net, Output(3, end=2), together[:1])
    assert search(net, Output(3, end=2), together) == alone * 9
    assert max(widest) <= 256
