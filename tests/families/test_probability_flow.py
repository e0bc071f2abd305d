"""The flow's density against normals and mixtures, whose density is known."""

import math

import pytest
import torch

from miaobi.families._probability_flow import log_density
from miaobi.sampling.noise import noise, seeds_of

SEEDS = seeds_of(0, range(64))


def normal(covariance, mean):
    """The exact denoiser of a normal, for ``x [B, D]``."""

    def denoise(x, t):
        whole = (1 - t) ** 2 * covariance + t**2 * torch.eye(len(mean), dtype=x.dtype)
        return mean + (1 - t) * (x - (1 - t) * mean) @ torch.linalg.solve(whole, covariance)

    return denoise


COVARIANCE = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)
MEAN = torch.tensor([0.3, -0.5], dtype=torch.float64)
KNOWN = torch.distributions.MultivariateNormal(MEAN, COVARIANCE)


def data():
    return MEAN + noise(SEEDS, "data", (2,)).double() @ torch.linalg.cholesky(COVARIANCE).T


def test_the_density_of_a_normal_is_found_and_converges_at_second_order():
    x = data()
    errors = []
    for steps in (16, 32, 64):
        # Two dimensions and independent signs a step leave noise, which many probes average away.
        found = log_density(normal(COVARIANCE, MEAN), x, steps, 1, SEEDS)
        diagonal = log_density(normal(torch.diag(COVARIANCE.diag()), MEAN), x, steps, 1, SEEDS)
        known = torch.distributions.Normal(MEAN, COVARIANCE.diag().sqrt()).log_prob(x).sum(1)
        errors.append((diagonal - known).abs().mean().item())
        assert (found - KNOWN.log_prob(x)).mean().abs() < 0.3
    assert errors[-1] < 0.01
    assert errors[0] / errors[-1] > 8


def test_more_probes_are_less_noisy_about_the_same_mean():
    x = data()
    spreads = []
    for probes in (1, 8):
        found = log_density(normal(COVARIANCE, MEAN), x, 64, probes, SEEDS) - KNOWN.log_prob(x)
        assert found.mean().abs() < 0.1
        spreads.append(found.std().item())
    assert spreads[1] < spreads[0] / 1.8


def test_the_parameters_gather_no_gradients():
    layer = torch.nn.Linear(3, 3)
    x = torch.randn(4, 3)
    with torch.no_grad():
        found = log_density(lambda x, t: layer(x) * (1 - t), x, 4, 1, SEEDS[:4])
    assert not found.requires_grad
    assert layer.weight.grad is None


@pytest.mark.parametrize("seed", [0, 1])
def test_any_denoiser_in_one_dimension_gives_a_density_that_integrates_to_one(seed):
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1)).double()

    def denoise(x, t):
        # The velocity is smooth, as that of a network that predicts it.
        return x - t * network(torch.cat([x, x.new_full((len(x), 1), t)], 1))

    x = torch.linspace(-12, 12, 4001).double()[:, None]
    density = log_density(denoise, x, 64, 1, seeds_of(0, range(len(x)))).exp()
    assert density.sum().item() * 24 / 4000 == pytest.approx(1, abs=0.01)
    assert math.isfinite(density.max().item())
