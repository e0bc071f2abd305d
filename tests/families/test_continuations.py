"""Continuations after prompts: what the network says when each is read whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.families import _continuations
from miaobi.families._continuations import common, score
from tests.families.tuned import network

token = st.integers(0, 10)
runs = st.lists(token, min_size=1, max_size=5).map(tuple)


def naively(net, prompt, continuation):
    """The sum of log-probabilities of a whole forward pass."""
    tokens = torch.tensor([[*prompt, *continuation]])
    with torch.no_grad():
        says = net(tokens)[0].log_softmax(-1)
    return sum(float(says[len(prompt) - 1 + place, one]) for place, one in enumerate(continuation))


@pytest.mark.parametrize("name", ["transformer", "gru"])
@settings(max_examples=15)
@given(
    begin=st.lists(token, max_size=4).map(tuple),
    rest=st.lists(runs, min_size=1, max_size=5),
    continuations=st.lists(runs, min_size=1, max_size=5),
)
def test_scores_are_those_of_whole_forward_passes(name, begin, rest, continuations):
    net = network(name).eval()
    prompts = [(*begin, *one) for one in rest]
    found = score(net, prompts, continuations, torch.float32)
    wanted = torch.tensor([[naively(net, prompt, one) for one in continuations] for prompt in prompts])
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_many_prompts_and_continuations_are_scored_in_parts(monkeypatch):
    net = network().eval()
    prompts = [(1, 2, one, *[3] * (one % 3)) for one in range(7)]
    continuations = [(one, 4) for one in range(5)]
    whole = score(net, prompts, continuations, torch.float32)
    monkeypatch.setattr(_continuations, "_PROMPTS", 2)
    monkeypatch.setattr(_continuations, "_ROWS", 4)
    torch.testing.assert_close(score(net, prompts, continuations, torch.float32), whole, atol=1e-5, rtol=1e-5)


def test_what_prompts_share_and_equal_prompts_are_fed_once(monkeypatch):
    net = network().eval()
    fed = []
    prefill = net.prefill
    monkeypatch.setattr(net, "prefill", lambda t, n, c: (fed.append(tuple(t.shape)), prefill(t, n, c))[1])
    score(net, [(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3, 4)], [(6,)], torch.float32)
    assert fed == [(1, 3), (2, 1)]


def test_what_is_shared_stops_before_the_shortest_ends():
    assert common([(1, 2, 3), (1, 2)]) == 1
    assert common([(1, 2, 3)]) == 2
    assert common([(1,), (1, 2)]) == 0
    assert common([(2, 2), (1, 2)]) == 0
