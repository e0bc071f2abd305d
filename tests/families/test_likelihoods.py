import math

import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.families._likelihoods import likelihood_class
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form, Spec

LEVELS = 16
NAMES = ["bernoulli", "gaussian", "laplace", "discretised_logistic"]
PIXEL = Spec(Form.TENSOR, 1, (1, 1), levels=LEVELS)


def every_level():
    return torch.linspace(-1, 1, LEVELS).view(-1, 1, 1, 1)


@pytest.mark.parametrize("scale", ["shared", "predicted"])
@pytest.mark.parametrize("centre", [-1.3, -0.2, 0.97])
def test_discretised_logistic_masses_add_up_to_one(scale, centre):
    likelihood = likelihood_class("discretised_logistic")(PIXEL, scale)
    outputs = torch.tensor([centre, -1.5][: likelihood.outputs]).view(1, -1, 1, 1).expand(LEVELS, -1, -1, -1)
    nats = likelihood.log_prob(outputs, every_level(), seeds_of(0, range(LEVELS)))
    assert nats.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_discretised_logistic_is_finite_however_wrong_and_sure():
    likelihood = likelihood_class("discretised_logistic")(PIXEL, "predicted")
    outputs = torch.tensor([5.0, -50.0]).view(1, 2, 1, 1).expand(LEVELS, -1, -1, -1).clone().requires_grad_()
    nats = likelihood.log_prob(outputs, every_level(), seeds_of(0, range(LEVELS)))
    nats.sum().backward()
    assert torch.isfinite(nats).all()
    assert torch.isfinite(outputs.grad).all()


def test_gaussian_density_is_torchs_own():
    likelihood = likelihood_class("gaussian")(Spec(Form.TENSOR, 2, (3,)), "predicted")
    # Within the limits that log-scales are kept to.
    outputs, x = torch.randn(4, 4, 3).clamp(-2, 2), torch.randn(4, 2, 3)
    expected = torch.distributions.Normal(outputs[:, :2], outputs[:, 2:].exp()).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(likelihood.log_prob(outputs, x, seeds_of(0, range(4))), expected)


def test_gaussian_of_quantised_data_bounds_its_mass():
    """Averaged over the dequantising noise, log-density is at most the log of the bin's mass."""
    likelihood = likelihood_class("gaussian")(PIXEL, "predicted")
    outputs = torch.tensor([0.1, -2.0]).view(1, 2, 1, 1).expand(4000, -1, -1, -1)
    level = every_level()[8]
    mean = likelihood.log_prob(outputs, level.expand(4000, 1, 1, 1), seeds_of(0, range(4000))).mean().item()
    half, normal = 1 / (LEVELS - 1), torch.distributions.Normal(0.1, math.exp(-2.0))
    mass = (normal.cdf(level + half) - normal.cdf(level - half)).log().item()
    assert mass - 0.1 < mean < mass + 0.02


def test_bernoulli_is_summed_cross_entropy():
    target = Spec(Form.TENSOR, 1, (2, 2))
    likelihood = likelihood_class("bernoulli")(target, "predicted")
    logits, x = torch.randn(3, 1, 2, 2), torch.rand(3, 1, 2, 2) * 2 - 1
    p, share = logits.sigmoid(), (x + 1) / 2
    expected = (share * p.log() + (1 - share) * (1 - p).log()).flatten(1).sum(1)
    torch.testing.assert_close(likelihood.log_prob(logits, x, seeds_of(0, range(3))), expected)
    torch.testing.assert_close(likelihood.mean(logits), 2 * p - 1)


@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_likelihoods_mean_and_range(name):
    target = Spec(Form.TENSOR, 1, (2,), levels=256)
    likelihood = likelihood_class(name)(target, "predicted")
    outputs = torch.tensor([0.3, -0.2, -2.5, -2.5][: 2 * likelihood.outputs]).view(1, -1, 2).expand(5000, -1, -1)
    drawn = likelihood.draw(outputs, seeds_of(0, range(5000)))
    torch.testing.assert_close(drawn.mean(0), likelihood.mean(outputs)[0], atol=0.03, rtol=0)
    if name in ("bernoulli", "discretised_logistic"):
        assert drawn.abs().max() <= 1


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_shared_scale_learns_the_datas_spread(name):
    target = Spec(Form.TENSOR, 1, (8,), levels=256)
    likelihood = likelihood_class(name)(target, "shared")
    x = 0.05 * torch.randn(256, 1, 8, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(likelihood.parameters(), lr=3e-3)
    for step in range(300):
        optimiser.zero_grad()
        (-likelihood.log_prob(torch.zeros(256, 1, 8), x, seeds_of(step, range(256))).mean()).backward()
        optimiser.step()
    scale = likelihood.split(torch.zeros(1, 1, 8))[1].exp().item()
    # A Laplace density's best scale is the mean distance, which of normal data is sqrt(2 / pi) spreads.
    factor = {"gaussian": 1, "laplace": (math.pi / 2) ** 0.5, "discretised_logistic": math.pi / 3**0.5}[name]
    assert scale * factor == pytest.approx(0.05, rel=0.15)


def test_quantised_likelihood_needs_quantised_data():
    with pytest.raises(Unsupported, match="gaussian"):
        likelihood_class("discretised_logistic")(Spec(Form.TENSOR, 1, (4,)), "shared")


def test_laplace_density_is_torchs_own():
    likelihood = likelihood_class("laplace")(Spec(Form.TENSOR, 2, (3,)), "predicted")
    outputs, x = torch.randn(4, 4, 3), torch.randn(4, 2, 3)
    expected = torch.distributions.Laplace(outputs[:, :2], outputs[:, 2:].exp()).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(likelihood.log_prob(outputs, x, seeds_of(0, range(4))), expected)
