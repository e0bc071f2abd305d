from __future__ import annotations

import pytest
import torch
from torch._dynamo.utils import counters

from miaobi.errors import Unsupported
from miaobi.networks._base import replace_rows
from miaobi.networks._compiled_decoding import _kept, _stamp
from miaobi.networks.transformer import Transformer
from miaobi.types import Form, Spec

VOCABULARY, SPAN = 13, 40


def network(**options):
    torch.manual_seed(0)
    port = Spec(Form.TOKENS, vocabulary=VOCABULARY, max_length=SPAN)
    shape = {"width": 32, "depth": 2, "heads": 4, "key_heads": 2, "head_width": 8, "inner": 32}
    built = Transformer(Transformer.Config(**{**shape, **options}), port, port, {}).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=0.3)
    return built


def begun(net, rows, dtype=torch.float32):
    cache = net.new_cache(rows, SPAN, dtype)
    lengths = torch.arange(rows) % 4 + 1
    tokens = torch.arange(rows * 4).view(rows, 4) % VOCABULARY
    net.prefill(tokens, lengths, cache)
    return cache


def told(steps, rows):
    return torch.arange(steps * rows).view(steps, rows) * 7 % VOCABULARY


@pytest.fixture(scope="module")
def compiled():
    net = network()
    with torch.no_grad():
        cache = begun(net, 5)
        net.compile_steps(cache, 5)
    return net, cache.weights


@torch.no_grad()
def test_one_graph_equals_plain_steps_for_all_row_counts_and_spans(compiled):
    net, weights = compiled
    plain = network()
    graphs = counters["stats"]["unique_graphs"]
    for rows in (5, 2, 9):
        fast, slow = begun(net, rows), begun(plain, rows)
        assert fast.weights is weights
        assert net.steps_compiled(fast, rows)
        assert not net.steps_compiled(fast, 1)
        for tokens in told(30, rows):
            torch.testing.assert_close(net.step(tokens, fast), plain.step(tokens, slow), atol=2e-4, rtol=1e-4)
    assert counters["stats"]["unique_graphs"] == graphs


@torch.no_grad()
def test_rows_that_join_and_are_written_over_go_on_as_alone(compiled):
    net, _ = compiled
    plain = network()
    fast, slow = begun(net, 3), begun(plain, 3)
    assert net.steps_compiled(fast, 3)
    for tokens in told(6, 3):
        net.step(tokens, fast), plain.step(tokens, slow)
    places = torch.tensor([2, 0])
    fast, slow = (replace_rows(cache, places, begun(one, 2)) for one, cache in ((net, fast), (plain, slow)))
    fast, slow = fast.join(begun(net, 1)), slow.join(begun(plain, 1))
    assert fast.compiled is not None
    assert fast.lengths.tolist() == slow.lengths.tolist() == [2, 8, 1, 1]
    for tokens in told(6, 4):
        torch.testing.assert_close(net.step(tokens, fast), plain.step(tokens, slow), atol=2e-4, rtol=1e-4)


@torch.no_grad()
def test_weights_that_change_are_not_decoded_with_as_they_were(compiled):
    net, weights = compiled
    assert begun(net, 2).weights is weights
    with torch.no_grad():
        net.norm.weight.mul_(1.5)
    try:
        fresh = begun(net, 2)
        assert fresh.weights is not weights
        assert not net.steps_compiled(fresh, 2)
    finally:
        net.norm.weight.div_(1.5)


@torch.no_grad()
def test_who_does_not_ask_gets_plain_steps(compiled, monkeypatch):
    net, weights = compiled
    monkeypatch.setattr(type(weights.compiled), "__call__", lambda *_args: pytest.fail("a compiled step"))
    cache, plain = begun(net, 2), network()
    logits = net.step(told(1, 2)[0], cache)
    torch.testing.assert_close(logits, plain.step(told(1, 2)[0], begun(plain, 2)))


@torch.no_grad()
def test_training_forgets_what_was_compiled():
    net = network()
    cache = net.new_cache(2, SPAN, torch.float32)
    cache.weights.compiled = object()
    _kept[net] = _stamp(net), cache.weights
    assert net.new_cache(2, SPAN, torch.float32).weights is cache.weights
    # As a fused optimiser writes: without a trace in the parameter's version.
    net.train()
    net.norm.weight.data.mul_(2)
    net.eval()
    assert net.new_cache(2, SPAN, torch.float32).weights is not cache.weights


def test_what_the_compiler_trips_over_is_said(monkeypatch):
    def broken(*_args, **_options):
        raise RuntimeError("no C++ compiler here\nand more")

    net = network()
    monkeypatch.setattr(torch, "compile", lambda *_args, **_options: broken)
    cache = net.new_cache(2, SPAN, torch.float32)
    with pytest.raises(Unsupported, match=r"could not be compiled.*no C\+\+ compiler here"):
        net.compile_steps(cache, 2)
    assert not net.steps_compiled(cache, 2)
