"""What preference tuning shares: the ratio to a frozen reference, and the language model that is shipped."""

from dataclasses import replace

import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.families import Decoding, Likelihood, Sampling
from miaobi.families._preference import _without_dropout
from miaobi.families.autoregressive import Autoregressive
from tests.families.tuned import PROMPT, TARGET, language_model, log_probs, network, pairs, tuned

both = pytest.mark.parametrize("name", ["dpo", "kto"])


@both
def test_the_ratio_is_that_of_the_networks_own_probabilities(name):
    reference, batch = language_model(seed=3), pairs()
    family = tuned(name, reference)
    found = family.compared(batch)
    expected = log_probs(family.shipped(), batch.target, batch) - log_probs(reference, batch.target, batch)
    torch.testing.assert_close(found.ratio, expected, rtol=1e-4, atol=1e-4)
    assert found.predicted.tolist() == [10, 4, 2, 6]
    assert expected.abs().min() > 0.1


def test_the_divergence_is_the_sum_over_the_vocabulary():
    reference, batch = language_model(seed=3), pairs().select(slice(0, 1))
    family = tuned("dpo", reference)
    tokens, weight = family.shipped().layout.sequence(batch)
    says = [
        model.network(tokens[:, :-1])[0, :, : family.shipped().layout.outputs.size].log_softmax(-1)
        for model in (family.shipped(), reference)
    ]
    along = (says[0].exp() * (says[0] - says[1])).sum(-1) * (weight[0, 1:] > 0)
    torch.testing.assert_close(family.compared(batch).divergence, along.sum()[None], rtol=1e-4, atol=1e-4)
    assert tuned("dpo").compared(batch).divergence.abs().max() < 1e-5


@both
@pytest.mark.parametrize("kind", ["transformer", "lstm", "gru", "rnn", "causal_convolutional"])
def test_any_network_over_tokens_serves_and_dropout_is_off(name, kind):
    net = network(kind, **({"dropout": 0.5} if kind != "causal_convolutional" else {}))
    family, batch = tuned(name, net=net).train(), pairs()
    assert family.compared(batch).ratio.tolist() == [0.0] * 4
    family(batch, "train", batch.ids).total.backward()
    assert family.network.training
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in net.parameters())


def test_recurrent_networks_do_without_kernels_that_are_differentiable_in_training_only():
    for kind, enabled in (("lstm", False), ("transformer", True)):
        with _without_dropout(network(kind)):
            assert torch.backends.cudnn.enabled is enabled
    assert torch.backends.cudnn.enabled


@both
def test_the_reference_stays_where_it_was_while_the_policy_moves(name):
    family, batch = tuned(name), pairs()
    reference = family.parts_by_name["reference"]
    before = {key: value.clone() for key, value in reference.state_dict().items()}
    optimiser = torch.optim.SGD(family.parameters(), lr=0.5)
    for _ in range(3):
        optimiser.zero_grad()
        family(batch, "train", batch.ids).total.backward()
        optimiser.step()
    assert family.compared(batch).ratio.abs().max() > 0.01
    assert all(torch.equal(value, before[key]) for key, value in reference.state_dict().items())
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    assert not any("reference" in key for key in family.state_dict())


@both
def test_what_is_shipped_is_a_language_model_with_the_policys_network(name):
    family, batch = tuned(name, language_model(seed=3)), pairs()
    shipped = family.shipped()
    assert type(shipped) is Autoregressive
    assert shipped.network is family.network
    assert shipped.state_dict().keys() == family.state_dict().keys()
    assert all(isinstance(family, ability) for ability in (Sampling, Likelihood, Decoding))
    for ability in ("log_likelihood", "sample"):
        ours, theirs = (
            one.log_likelihood(batch, seeds=batch.ids).nats
            if ability == "log_likelihood"
            else one.sample(batch.conditions, seeds=batch.ids).values
            for one in (family, shipped)
        )
        assert torch.equal(ours, theirs)


def test_another_reference_than_a_language_model_over_the_same_tokens_is_refused():
    with pytest.raises(Unsupported, match="same tokens"):
        tuned("dpo", language_model(conditions={}))
    with pytest.raises(Unsupported, match="DPO"):
        tuned("dpo", tuned("dpo"))


def test_a_stream_is_refused():
    kind = type(tuned("dpo"))
    with pytest.raises(Unsupported, match="stream"):
        kind.ports(kind.Config(), replace(TARGET, stream=True), PROMPT)


def test_a_shared_beginning_cancels_out():
    """Rows without a prompt column carry it in both answers, and the ratio of ratios is the same."""
    family, batch = tuned("dpo", language_model(conditions={}, seed=3), conditions={}), pairs(prompts=False)
    policy, reference = family.shipped(), family.parts_by_name["reference"]
    margins = []
    for model in (policy, reference):
        chosen, rejected = (log_probs(model, field, batch) for field in (batch.target, batch.extra["rejected"]))
        margins.append(chosen - rejected)
    both_sides = [
        family.compared(replace(batch, target=field)).ratio for field in (batch.target, batch.extra["rejected"])
    ]
    torch.testing.assert_close(both_sides[0] - both_sides[1], margins[0] - margins[1], rtol=1e-4, atol=1e-4)
