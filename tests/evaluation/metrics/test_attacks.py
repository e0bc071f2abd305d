"""Projected gradient descent: exact where the model is linear, and never outside of its ball."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from miaobi.evaluation.metrics._attacks import lead, noisy, pgd
from miaobi.sampling.noise import noise, seeds_of, uniform


def network(seed: int, size: int = 6) -> nn.Module:
    """A small net of fixed random weights and three classes."""
    layers = nn.Sequential(nn.Linear(size, 16), nn.Tanh(), nn.Linear(16, 3))
    for index, parameter in enumerate(layers.parameters()):
        parameter.data = noise(seeds_of(seed, [index]), "weights", parameter.shape)[0]
    return layers


def inputs(seed: int, count: int = 20, size: int = 6) -> Tensor:
    return 1.9 * uniform(seeds_of(seed, range(count)), "inputs", (size,)) - 0.95


@given(st.integers(0, 1000), st.floats(0, 0.5), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_it_stays_inside_ball_and_range_and_never_helps(seed: int, radius: float, steps: int) -> None:
    net, clean = network(seed), inputs(seed)
    labels, seeds = net(clean).argmax(1), seeds_of(seed, range(20))
    found = pgd(net, labels, clean, radius, steps=steps, seeds=seeds)
    for perturbed in (found.inputs, noisy(clean, radius, seeds)):
        assert (perturbed - clean).abs().max() <= radius + 1e-6
        assert perturbed.abs().max() <= 1
    torch.testing.assert_close(found.lead, lead(net(found.inputs), labels))
    assert (found.lead >= lead(net(clean), labels) - 1e-6).all()


def test_a_radius_of_nought_changes_nothing() -> None:
    net, clean = network(1), inputs(1)
    labels, seeds = net(clean).argmax(1), seeds_of(0, range(20))
    assert torch.equal(pgd(net, labels, clean, 0.0, steps=5, seeds=seeds).inputs, clean)
    assert torch.equal(noisy(clean, 0.0, seeds), clean)


@pytest.mark.parametrize("radius", [0.01, 0.03, 0.05])
def test_of_a_linear_classifier_it_is_the_closed_form(radius: float) -> None:
    """The worst within the ball lowers the margin by the radius times the weights' sum of magnitudes."""
    weights, clean = noise(seeds_of(3, [0]), "weights", (6,))[0], 0.9 * inputs(3)

    def logits(x: Tensor) -> Tensor:
        return torch.stack([torch.zeros(len(x)), x @ weights], 1)

    labels = (clean @ weights > 0).long()
    before = lead(logits(clean), labels)
    found = pgd(logits, labels, clean, radius, steps=10, seeds=seeds_of(0, range(20)))
    torch.testing.assert_close(found.lead - before, torch.full_like(before, radius * float(weights.abs().sum())))
    worst = clean - radius * torch.where(labels[:, None] == 1, weights.sign(), -weights.sign())
    torch.testing.assert_close(found.inputs, worst)


def test_it_is_stronger_than_noise_and_grows_with_its_radius() -> None:
    fooled: list[float] = []
    for radius in (0.02, 0.05, 0.1, 0.2, 0.4):
        attacked, random = [], []
        for seed in range(10):
            net, clean = network(seed), inputs(seed, 50)
            labels, seeds = net(clean).argmax(1), seeds_of(seed, range(50))
            attacked.append(pgd(net, labels, clean, radius, steps=20, seeds=seeds).lead > 0)
            random.append(lead(net(noisy(clean, radius, seeds)), labels) > 0)
        fooled.append(float(torch.stack(attacked).float().mean()))
        assert fooled[-1] >= float(torch.stack(random).float().mean())
    assert all(more >= less - 0.01 for less, more in pairwise(fooled))
    assert fooled[0] < 0.2 < 0.8 < fooled[-1]


def test_a_batch_equals_its_items() -> None:
    net, clean = network(2), inputs(2)
    labels, seeds = (net(clean).argmax(1) + 1) % 3, seeds_of(5, range(20))
    whole = pgd(net, labels, clean, 0.1, steps=5, seeds=seeds)
    parts = [
        pgd(net, labels[i : i + 1], clean[i : i + 1], 0.1, steps=5, seeds=seeds[i : i + 1]).inputs for i in range(20)
    ]
    torch.testing.assert_close(whole.inputs, torch.cat(parts), atol=1e-5, rtol=0)


def test_a_model_without_gradients_is_only_met_at_random() -> None:
    """What masked gradients look like: steps that lead nowhere, so only the start was tried."""
    net, clean = network(4), inputs(4)
    labels, seeds = net(clean).argmax(1), seeds_of(0, range(20))

    def masked(x: Tensor) -> Tensor:
        return net(x.detach()) + 0 * x.sum(1, keepdim=True)

    hidden = pgd(masked, labels, clean, 0.2, steps=20, seeds=seeds)
    shown = pgd(net, labels, clean, 0.2, steps=20, seeds=seeds)
    assert (hidden.lead > 0).float().mean() < (shown.lead > 0).float().mean()
