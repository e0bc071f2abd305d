"""Packing: every item once, whole, beside its own targets; and the same losses and gradients from fewer positions."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi import models
from miaobi.families._packing import pack
from miaobi.recipe import Recipe
from miaobi.types import Batch, Field, Form, Spec

TEXT = Spec(Form.TOKENS, vocabulary=30, max_length=12)
CONDITIONS = {"title": Spec(Form.TOKENS, vocabulary=30, max_length=5, shared=True)}


def rows_of(lengths, told):
    """Sequences of tokens that occur once each, the first ``told`` of which are not predicted."""
    longest = max(lengths)
    tokens = torch.arange(1, len(lengths) * longest + 1).view(len(lengths), longest)
    places = torch.arange(longest)[None]
    weight = (places < torch.tensor(lengths)[:, None]) & (places > torch.tensor(told)[:, None])
    return tokens * (places < torch.tensor(lengths)[:, None]), weight.float() * (1 + places / 8)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8)), min_size=1, max_size=12))
def test_every_prediction_is_there_once_with_its_own_past(items):
    lengths, told = (list(part) for part in zip(*items, strict=True))
    tokens, weight = rows_of(lengths, told)
    packed = pack(tokens, weight)
    expected = {
        (int(tokens[row, place - 1]), int(tokens[row, place]), float(weight[row, place]))
        for row in range(len(tokens))
        for place in range(1, tokens.shape[1])
        if weight[row, place] > 0
    }
    counted = packed.weight > 0
    triples = (packed.inputs[counted], packed.targets[counted], packed.weight[counted])
    found = list(zip(*(part.tolist() for part in triples), strict=True))
    assert len(found) == len(expected)
    assert set(found) == expected
    width = packed.inputs.shape[1]
    assert width <= max(1, tokens.shape[1] - 1)
    assert len(packed.inputs) <= len(tokens)
    for row in range(len(packed.inputs)):
        for number in set(packed.segments[row].tolist()) - {0}:
            item = packed.inputs[row][packed.segments[row] == number].tolist()
            # An item is a run from its first token on.
            assert item == list(range(item[0], item[0] + len(item)))
            assert (item[0] - 1) % tokens.shape[1] == 0


def test_items_share_rows_as_they_fit_and_nothing_is_between():
    tokens, weight = rows_of([9, 5, 3, 3, 2], [0] * 5)
    packed = pack(tokens, weight)
    assert packed.segments.tolist() == [[1] * 8, [1] * 4 + [2] * 2 + [3] * 2, [1, 0, 0, 0, 0, 0, 0, 0]]


def test_nothing_to_predict_is_a_row_of_nothing():
    packed = pack(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3))
    assert packed.weight.sum() == 0
    assert packed.segments.sum() == 0


def family(network, packing, **options):
    section = {"family": "autoregressive", "size": "tiny", "network": {"name": network}}
    model = {**section, "options": {"packing": packing, "condition_drop": 0.0, **options}}
    recipe = Recipe.load({"modality": "text", "data": {"source": "none"}, "model": model})
    made = models.build(recipe, TEXT, CONDITIONS)
    with torch.no_grad():
        torch.manual_seed(0)
        for parameter in made.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    return made


def batch():
    torch.manual_seed(2)
    title = Field(torch.randint(30, (6, 5)), lengths=torch.tensor([5, 1, 3, 2, 4, 1]))
    target = Field(torch.randint(30, (6, 12)), lengths=torch.tensor([12, 2, 5, 3, 1, 4]))
    return Batch(target, {"title": title}, ids=torch.arange(6))


def loss_and_gradients(made, over):
    loss = made(over, "train", torch.arange(len(over)))
    made.zero_grad(set_to_none=True)
    loss.total.backward()
    return loss, {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("network", ["transformer", "gru", "causal_convolutional"])
def test_packed_and_unpacked_losses_and_gradients_are_equal(network):
    (left, ours), (right, theirs) = (loss_and_gradients(family(network, packing), batch()) for packing in (True, False))
    torch.testing.assert_close(left.total, right.total, rtol=1e-5, atol=1e-4)
    assert float(left.count) == float(right.count)
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-3, atol=1e-4, msg=name)


def test_what_is_packed_has_fewer_positions():
    made, seen = family("transformer", True), []
    made.network.register_forward_hook(lambda module, given, out: seen.append(given[0].shape.numel()))
    made(batch(), "train", torch.arange(6))
    whole = family("transformer", False)
    whole.network.register_forward_hook(lambda module, given, out: seen.append(given[0].shape.numel()))
    whole(batch(), "train", torch.arange(6))
    assert seen[0] < 0.7 * seen[1]


def test_micro_batches_add_up_with_packing_the_uneven_last_one_too():
    made = family("transformer", True)
    whole, gradients = loss_and_gradients(made, batch())
    parts = [loss_and_gradients(made, batch().select(slice(start, start + 4))) for start in (0, 4)]
    torch.testing.assert_close(sum(loss.total for loss, _ in parts), whole.total, rtol=1e-5, atol=1e-4)
    assert sum(float(loss.count) for loss, _ in parts) == float(whole.count)
    for name, gradient in gradients.items():
        added = sum(found[name] for _, found in parts)
        torch.testing.assert_close(added, gradient, rtol=1e-3, atol=1e-4, msg=name)
