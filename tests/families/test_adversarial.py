import math

import pytest
import torch

from miaobi.families._adversarial import adversarial, off_one, squared_slope

LOSSES = ["relativistic", "non_saturating", "least_squares", "hinge", "wasserstein_gp"]
REAL, FAKE = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.25])


def softplus(x):
    return math.log1p(math.exp(x))


def test_values_by_hand():
    found = {name: adversarial(name) for name in LOSSES}
    values = {name: (loss.discriminator(REAL, FAKE)[0], loss.generator(REAL, FAKE)[0]) for name, loss in found.items()}
    expected = {
        "relativistic": (softplus(0.5 - 2), softplus(2 - 0.5)),
        "non_saturating": (softplus(-2) + softplus(0.5), softplus(-0.5)),
        "least_squares": (0.5 * (1 + 0.25), 0.5 * 0.25),
        "hinge": (1.5, -0.5),
        "wasserstein_gp": (-1.5, -0.5),
    }
    for name, (discriminator, generator) in expected.items():
        assert values[name][0].item() == pytest.approx(discriminator)
        assert values[name][1].item() == pytest.approx(generator)


@pytest.mark.parametrize("name", LOSSES)
def test_each_side_pushes_its_own_way(name):
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    adversarial(name).discriminator(real, fake).sum().backward()
    assert (fake.grad > 0).all()
    assert (real.grad[fake.grad > 0] <= 0).any()
    fake.grad = None
    adversarial(name).generator(real.detach(), fake).sum().backward()
    assert (fake.grad < 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_items_do_not_mix(name):
    loss = adversarial(name)
    for side in (loss.discriminator, loss.generator):
        assert torch.equal(side(REAL, FAKE)[1:], side(REAL[1:], FAKE[1:]))


def test_only_the_paired_loss_reads_real_logits_in_the_generators_turn():
    for name in LOSSES:
        loss = adversarial(name)
        changes = not torch.equal(loss.generator(REAL, FAKE), loss.generator(REAL + 1, FAKE))
        assert changes == loss.paired


def test_slopes_by_hand_and_twice_differentiable():
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    x = torch.randn(5, 2, requires_grad=True)
    squared = squared_slope((x * weight).sum(1), x)
    torch.testing.assert_close(squared, torch.full((5,), 25.0))
    torch.testing.assert_close(off_one(squared), torch.full((5,), 16.0))
    squared.sum().backward()
    torch.testing.assert_close(weight.grad, 5 * 2 * torch.tensor([3.0, 4.0]))


def test_a_flat_discriminator_has_finite_gradients():
    squared = torch.zeros(3, requires_grad=True)
    off_one(squared).sum().backward()
    assert torch.isfinite(squared.grad).all()


def test_confidence_by_hand():
    found = {name: adversarial(name).confidence(REAL, FAKE).tolist() for name in LOSSES}
    assert found["non_saturating"] == found["hinge"] == [1, -1]
    assert found["relativistic"] == found["wasserstein_gp"] == [1, -1]
    assert adversarial("least_squares").confidence(torch.tensor([0.4, 0.6]), FAKE).tolist() == [-1, 1]
    # What only differences mean must not hang on an offset.
    assert adversarial("relativistic").confidence(REAL + 9, FAKE + 9).tolist() == [1, -1]
    assert adversarial("hinge").confidence(REAL + 9, FAKE + 9).tolist() == [1, 1]
