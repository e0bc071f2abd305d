"""What is true of every network, over every pair of ports that it accepts."""

import functools
import inspect

import pytest
import torch

from miaobi import networks
from miaobi.errors import MiaobiError, Unsupported
from miaobi.families._cross_entropy import head_loss
from miaobi.networks import ReadingNetwork, TokenNetwork
from miaobi.types import Field, Form, Spec, vector_spec

WORDS = Spec(Form.TOKENS, vocabulary=11, max_length=12)
CONDITIONS = {
    "label": Spec(Form.LABEL, vocabulary=3),
    "title": Spec(Form.TOKENS, vocabulary=7, max_length=5),
}
PORTS = {
    "tokens to tokens": (WORDS, WORDS),
    "tokens to scores": (WORDS, Spec(Form.TENSOR, 1, (9,))),
    "tokens to vector": (WORDS, vector_spec(3)),
    "vector to vector": (vector_spec(6), vector_spec(3)),
    "vector to sound": (vector_spec(6), Spec(Form.TENSOR, 1, (32,))),
    "vector to image": (vector_spec(6), Spec(Form.TENSOR, 3, (8, 8), levels=256)),
    "vector to odd image": (vector_spec(6), Spec(Form.TENSOR, 1, (7, 10), levels=256)),
    "vector to video": (vector_spec(6), Spec(Form.TENSOR, 1, (4, 8, 8))),
    "sound to vector": (Spec(Form.TENSOR, 1, (32,)), vector_spec(6)),
    "image to vector": (Spec(Form.TENSOR, 3, (8, 8)), vector_spec(1)),
    "odd image to vector": (Spec(Form.TENSOR, 1, (7, 10)), vector_spec(1)),
    "video to vector": (Spec(Form.TENSOR, 1, (4, 8, 8)), vector_spec(2)),
    "sound to sound": (Spec(Form.TENSOR, 1, (31,)), Spec(Form.TENSOR, 1, (31,))),
    "image to image": (Spec(Form.TENSOR, 3, (8, 8)), Spec(Form.TENSOR, 3, (8, 8))),
    "odd image to image": (Spec(Form.TENSOR, 1, (7, 10)), Spec(Form.TENSOR, 2, (7, 10))),
    "one pixel to one": (Spec(Form.TENSOR, 4, (1, 1)), Spec(Form.TENSOR, 4, (1, 1))),
    "video to video": (Spec(Form.TENSOR, 1, (3, 6, 8)), Spec(Form.TENSOR, 1, (3, 6, 8))),
}


@functools.cache
def build(name, case):
    source, target = PORTS[case]
    kind = networks.find(name)
    config, conditions = None, CONDITIONS
    # A decoder-only network's conditions are prefix tokens, so it refuses those that it would have to encode.
    for conditions in (CONDITIONS, {}):
        try:
            config = kind.preset("tiny", source, target, conditions)
            break
        except Unsupported:
            pass
    if config is None:
        return None
    torch.manual_seed(0)
    network = kind(config, source, target, conditions).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            # Zero-initialised branches would hide what is behind them.
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    return network


def accepted(kind=networks.Network):
    return [
        pytest.param(name, case, id=f"{name}: {case}")
        for name in networks.names()
        if issubclass(networks.find(name), kind)
        for case in PORTS
        if build(name, case) is not None
    ]


def source_batch(network, rows=4):
    generator = torch.Generator().manual_seed(1)
    spec = network.source
    if spec.form is Form.TOKENS:
        return torch.randint(spec.vocabulary, (rows, 9), generator=generator)
    return torch.randn(rows, spec.channels, *spec.space, generator=generator)


def condition_batch(network, rows=4):
    if not network.conditions:
        return {}
    present = torch.arange(rows) % 3 != 2
    return {
        "label": Field(torch.arange(rows) % 3, present=present),
        "title": Field(
            torch.arange(rows * 5).view(rows, 5) % 7, lengths=torch.arange(rows) % 5 + 1, present=present.flip(0)
        ),
    }


def told(network, rows=slice(None)):
    return {name: field.select(rows) for name, field in condition_batch(network).items()}


def run(network, rows=slice(None)):
    return network(source_batch(network)[rows], told(network, rows))


def new_cache(network, rows=4, span=12):
    cache = network.new_cache(rows, span)
    if isinstance(network, ReadingNetwork):
        cache.tell(network.sources(condition_batch(network), rows))
    return cache


def test_every_network_accepts_some_ports():
    served = {case.values[0] for case in accepted()}
    assert served == set(networks.names())


@pytest.mark.parametrize(("name", "case"), accepted())
def test_the_output_has_the_target_ports_shape(name, case):
    network = build(name, case)
    spec = network.target
    shape = (9, spec.vocabulary) if spec.form is Form.TOKENS else (spec.channels, *spec.space)
    out = run(network)
    assert out.shape == (4, *shape)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(("name", "case"), accepted())
def test_a_batch_equals_its_items_one_by_one(name, case):
    network = build(name, case)
    together = run(network)
    alone = torch.cat([run(network, slice(row, row + 1)) for row in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "case"), accepted())
def test_every_parameter_matters(name, case):
    network = build(name, case).train()
    try:
        network.zero_grad(set_to_none=True)
        run(network).square().sum().backward()
        idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    finally:
        network.eval()
    assert idle == []


@pytest.mark.parametrize(("name", "case"), accepted())
def test_conditions_change_the_output_only_where_present(name, case):
    network = build(name, case)
    if not network.conditions:
        pytest.skip("this port takes no conditions")
    x, conditions = source_batch(network), condition_batch(network)
    other = {
        **conditions,
        "label": Field((conditions["label"].values + 1) % 3, present=conditions["label"].present),
    }
    change = (network(x, conditions) - network(x, other)).flatten(1).abs().amax(1)
    present = conditions["label"].present
    assert (change[present] > 1e-6).all()
    assert (change[~present] == 0).all()


@pytest.mark.parametrize("name", networks.names())
def test_a_port_that_it_cannot_serve_is_refused_with_a_cure(name):
    kind = networks.find(name)
    for case, (source, target) in PORTS.items():
        if build(name, case) is None:
            with pytest.raises(MiaobiError, match="what to do"):
                kind.preset("tiny", source, target, {})


@pytest.mark.parametrize("name", networks.names())
def test_the_docstring_cites_its_source(name):
    module = inspect.getmodule(networks.find(name))
    text = (module.__doc__ or "") + (networks.find(name).__doc__ or "")
    assert any(year in text for year in map(str, range(1943, 2030))), "cite the paper"


@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_the_past_does_not_see_the_future(name, case):
    network = build(name, case)
    x = source_batch(network)
    changed = x.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % network.source.vocabulary
    before, after = network(x, told(network)), network(changed, told(network))
    torch.testing.assert_close(before[:, :6], after[:, :6], rtol=1e-5, atol=1e-5)
    assert (before[:, 6:] - after[:, 6:]).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_cached_equals_uncached_with_rows_of_different_lengths(name, case):
    network = build(name, case)
    x = source_batch(network)
    lengths = torch.tensor([3, 1, 5, 2])
    with torch.no_grad():
        full = run(network)
        cache = new_cache(network)
        logits = [network.prefill(x[:, :5], lengths, cache)]
        logits += [network.step(x[torch.arange(4), lengths + offset], cache) for offset in range(3)]
    for offset, got in enumerate(logits):
        torch.testing.assert_close(got, full[torch.arange(4), lengths - 1 + offset], rtol=1e-4, atol=1e-4)
    assert cache.lengths.tolist() == (lengths + 3).tolist()


@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_selected_rows_of_a_cache_go_on_as_they_would_have(name, case):
    network = build(name, case)
    x, lengths, rows = source_batch(network), torch.tensor([3, 1, 5, 2]), torch.tensor([2, 0, 2])
    with torch.no_grad():
        cache = new_cache(network)
        network.prefill(x[:, :5], lengths, cache)
        chosen = cache.select(rows)
        got = network.step(x[rows, lengths[rows]], chosen)
        full = run(network)
    torch.testing.assert_close(got, full[rows, lengths[rows]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_joined_caches_go_on_as_apart(name, case):
    network = build(name, case)
    x, lengths = source_batch(network), torch.tensor([3, 1, 5, 2])
    with torch.no_grad():
        cache, other = new_cache(network), new_cache(network)
        network.prefill(x[:, :5], lengths, cache)
        network.prefill(x[:, :1], torch.ones_like(lengths), other)
        both = cache.select(torch.tensor([1, 2])).join(other.select(torch.tensor([3])))
        rows, places = torch.tensor([1, 2, 3]), torch.tensor([1, 5, 1])
        got = network.step(x[rows, places], both)
        full = run(network)
    torch.testing.assert_close(got, full[rows, places], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_an_empty_cache_starts_anew(name, case):
    network = build(name, case)
    x = source_batch(network)
    with torch.no_grad():
        used = new_cache(network)
        network.prefill(x[:, :5], torch.tensor([3, 1, 5, 2]), used)
        got = network.prefill(x[:2, :4], torch.tensor([4, 4]), used.empty(2, 12))
        full = network(x[:2])
    torch.testing.assert_close(got, full[:, 3], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_packed_equals_unpacked(name, case):
    network = build(name, case)
    x = source_batch(network)
    packed = torch.cat([x[0, :5], x[1, :4], x[2, :3]])[None]
    segments = torch.tensor([[0] * 5 + [1] * 4 + [2] * 3])
    with torch.no_grad():
        first = torch.zeros(4, dtype=torch.int64)
        got = network(packed, told(network, first[:1]), segments=segments)[0]
        full = network(x, told(network, first))
    torch.testing.assert_close(got, torch.cat([full[0, :5], full[1, :4], full[2, :3]]), rtol=1e-4, atol=1e-4)


PACKINGS = {
    "even": [[3, 3, 3], [3, 3, 3]],
    "single tokens": [[1, 7, 1], [4, 1, 1, 1, 2]],
    "one item a row": [[9], [9]],
}


def loss_of(network, x, conditions, segments, *, apart=True):
    """Next-token loss in nats, summed; the last token of each item predicts nothing. ``apart``: items do not meet."""
    hidden = network(x[:, :-1], conditions, segments=segments[:, :-1] if apart else None, logits=False)
    weight = (segments[:, 1:] == segments[:, :-1]).float()
    return head_loss(hidden.flatten(0, 1), network.head, x[:, 1:].flatten(), weight.flatten())[0]


def gradients(network, loss):
    network.zero_grad(set_to_none=True)
    loss.backward()
    found = {
        name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None
    }
    network.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_the_loss_of_packed_rows_and_its_gradient_are_those_of_their_items(name, case, packing):
    network, rows = build(name, case), PACKINGS[packing]
    x = source_batch(network)[:2]
    # Numbers need not be in order, only differ between neighbours.
    segments = torch.tensor([[5 - 2 * place for place, size in enumerate(row) for _ in range(size)] for row in rows])
    packed = loss_of(network, x, told(network, slice(0, 2)), segments)
    apart = torch.zeros(())
    for row, sizes in enumerate(rows):
        for item in x[row].split(sizes):
            if len(item) > 1:
                apart = apart + loss_of(
                    network, item[None], told(network, slice(row, row + 1)), torch.zeros_like(item)[None], apart=False
                )
    torch.testing.assert_close(packed, apart, rtol=1e-5, atol=1e-4)
    left, right = gradients(network, packed), gradients(network, apart)
    assert left.keys() == right.keys()
    for parameter, gradient in left.items():
        torch.testing.assert_close(gradient, right[parameter], rtol=1e-3, atol=1e-4, msg=parameter)
    if len(rows[0]) > 1:
        assert not torch.allclose(packed, loss_of(network, x, told(network, slice(0, 2)), segments, apart=False))


@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_padding_changes_nothing(name, case):
    network = build(name, case)
    x, lengths = source_batch(network), torch.tensor([3, 9, 5, 2])
    mask = torch.arange(9)[None] < lengths[:, None]
    noisy = torch.where(mask, x, (x + 3) % network.source.vocabulary)
    with torch.no_grad():
        left, right = (network(tokens, told(network), lengths=lengths) for tokens in (x, noisy))
    torch.testing.assert_close(left[mask], right[mask], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "case"), accepted(TokenNetwork))
def test_certain_probabilities_equal_integers(name, case):
    network = build(name, case)
    x = source_batch(network)
    relaxed = torch.nn.functional.one_hot(x, network.source.vocabulary).float().requires_grad_()
    out = network(relaxed, told(network))
    torch.testing.assert_close(out, run(network), rtol=1e-4, atol=1e-5)
    out.sum().backward()
    assert relaxed.grad.abs().sum() > 0
