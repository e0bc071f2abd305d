"""Attention as it happened: outputs unchanged, weights that give the outputs, rollout's closed forms."""

from __future__ import annotations

import pytest
import torch

from miaobi.evaluation.understanding._recording import attending, recording, rollout
from miaobi.models import build
from miaobi.networks import Look
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=11, max_length=12)
SHARED = {"source": Spec(Form.TOKENS, vocabulary=11, max_length=12, shared=True)}
TEXT = {"text": Spec(Form.TOKENS, vocabulary=11, max_length=12)}
CASES = {
    "transformer": ("autoregressive", {"name": "transformer"}, TARGET, {}, {Look.BACK}),
    "grouped": ("autoregressive", {"name": "transformer", "heads": 4, "key_heads": 2}, TARGET, {}, {Look.BACK}),
    "encoder": ("classifier", {"name": "encoder"}, Spec(Form.LABEL, vocabulary=3), TEXT, {Look.AROUND}),
    "masked": ("masked_lm", {"name": "encoder"}, TARGET, {}, {Look.AROUND}),
    "encoder_decoder": ("seq2seq", {"name": "encoder_decoder"}, TARGET, SHARED, {Look.BACK, Look.AROUND, Look.ACROSS}),
    "recurrent": ("seq2seq", {"name": "attentive_recurrent"}, TARGET, SHARED, {Look.ACROSS}),
    "additive": ("seq2seq", {"name": "attentive_recurrent", "score": "additive"}, TARGET, SHARED, {Look.ACROSS}),
}
each = pytest.mark.parametrize("case", CASES)


def family_of(case):
    name, network, target, conditions, _ = CASES[case]
    recipe = {
        "modality": "text",
        "data": {"source": "none"},
        "model": {"family": name, "size": "tiny", "network": network},
    }
    family = build(Recipe.load(recipe), target, conditions).eval()
    for parameter in family.parameters():
        # Projections that start at zero would make every attention count for nothing.
        parameter.data += 0.1 * torch.randn(parameter.shape)
    return family


def batch_of(family, rows=3):
    tokens = torch.randint(0, 11, (rows, 9))
    lengths = torch.tensor([9, 5, 7])[:rows]
    conditions = {
        name: Field(torch.randint(0, 11, (rows, 6)), lengths=torch.tensor([6, 4, 2])[:rows])
        for name in family.conditions
    }
    label = family.target.form is Form.LABEL
    target = Field(torch.zeros(rows, dtype=torch.int64)) if label else Field(tokens, lengths=lengths)
    return Batch(target, conditions, ids=torch.arange(rows))


def outputs(family, batch):
    if hasattr(family, "predict"):
        return family.predict(batch.conditions)
    if hasattr(family, "log_likelihood"):
        return family.log_likelihood(batch, seeds=seeds_of(0, batch.ids)).nats
    return family.embed(batch)


@each
def test_recording_changes_nothing_and_leaves_no_hook(case):
    family = family_of(case)
    batch = batch_of(family)
    plain = outputs(family, batch)
    with recording(family) as kept:
        watched = outputs(family, batch)
    assert torch.equal(plain, watched)
    assert kept.attended
    again = len(kept.attended)
    kept.attended.clear()
    outputs(family, batch)
    assert again
    assert not kept.attended
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in family.modules())


@each
def test_rows_sum_to_one_and_see_what_they_may(case):
    family = family_of(case)
    batch = batch_of(family)
    with recording(family) as kept:
        outputs(family, batch)
    found = list(kept.attended.values())
    assert {one.looks for one in found} == CASES[case][4]
    assert len(found) == len(attending(family))
    for one in found:
        torch.testing.assert_close(one.weights.sum(-1), torch.ones(one.weights.shape[:-1]))
        assert (one.weights >= 0).all()
        if one.looks is Look.BACK:
            assert (one.weights.triu(1) == 0).all()
        if one.looks is Look.ACROSS:
            for row, length in enumerate([6, 4, 2]):
                assert (one.weights[row, :, :, length:] == 0).all()
                assert (one.weights[row, :, :, :length] > 0).all()


@pytest.mark.parametrize("case", ["transformer", "grouped", "masked", "encoder_decoder"])
def test_the_weights_times_the_values_are_what_the_module_gave(case):
    family = family_of(case)
    checked = []

    def check(module, inputs, output):
        weights = module.weights(*inputs)
        _, _, v = module.heads(inputs[0], inputs[1] if module.looks is Look.ACROSS else inputs[0])
        mixed = weights @ v.repeat_interleave(module.groups, dim=1)
        torch.testing.assert_close(module.o_proj(mixed.transpose(1, 2).flatten(2)), output, rtol=1e-4, atol=1e-5)
        checked.append(module)

    handles = [module.register_forward_hook(check) for _, _, module in attending(family)]
    outputs(family, batch_of(family))
    assert len(checked) == len(handles) > 0


@pytest.mark.parametrize("case", ["recurrent", "additive"])
def test_recurrent_weights_give_the_context(case):
    family = family_of(case)
    checked = []

    def check(module, inputs, output):
        states, memory = inputs
        torch.testing.assert_close(module.weights(states, memory)[:, 0] @ memory.values[0], output)
        checked.append(module)

    for _, _, module in attending(family):
        module.register_forward_hook(check)
    outputs(family, batch_of(family))
    assert checked


def test_the_tokens_that_were_fed_are_known():
    family = family_of("transformer")
    batch = batch_of(family)
    with recording(family) as kept:
        outputs(family, batch)
    tokens, _ = family.layout.sequence(batch)
    assert torch.equal(kept.fed["network"], tokens[:, :-1])


def test_rollout_of_identity_is_identity():
    assert torch.equal(rollout([torch.eye(5).expand(2, 5, 5)] * 3), torch.eye(5, dtype=torch.float64))


def test_rollout_of_one_layer_is_half_of_it_and_half_of_itself():
    weights = torch.rand(3, 4, 4).softmax(-1)
    expected = 0.5 * weights.double().mean(0) + 0.5 * torch.eye(4, dtype=torch.float64)
    torch.testing.assert_close(rollout([weights]), expected)


def test_rollout_of_uniform_layers_in_closed_form():
    # With U the mean over L positions, (I + U) / 2 to the n is (1 - 2^-n) U + 2^-n I.
    length, depth = 6, 4
    uniform = torch.full((1, length, length), 1 / length)
    expected = (1 - 2**-depth) / length + 2**-depth * torch.eye(length, dtype=torch.float64)
    torch.testing.assert_close(rollout([uniform] * depth), expected)


def test_rollout_takes_the_first_layer_first():
    # Layer 1 moves position 0 to 1; layer 2 moves 1 to 2: what is at 0 reaches 2 only in that order.
    first, second = torch.eye(3), torch.eye(3)
    first[1] = torch.tensor([1.0, 0, 0])
    second[2] = torch.tensor([0, 1.0, 0])
    assert rollout([first[None], second[None]])[2, 0] == 0.25
    assert rollout([second[None], first[None]])[2, 0] == 0


def test_rollout_stays_causal_and_sums_to_one():
    layers = [torch.randn(2, 7, 7).masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf).softmax(-1)] * 3
    found = rollout(layers)
    assert (found.triu(1) == 0).all()
    torch.testing.assert_close(found.sum(1), torch.ones(7, dtype=torch.float64))
