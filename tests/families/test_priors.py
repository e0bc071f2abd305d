import pytest
import torch

from miaobi.families._priors import make_prior
from miaobi.sampling.noise import seeds_of

NAMES = ["standard", "mixture", "flow"]


def bent(name, size=2):
    torch.manual_seed(0)
    prior = make_prior(name, size, 5)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_((0.05 if name == "flow" else 0.2) * torch.randn(parameter.shape))
    return prior


@pytest.mark.parametrize("name", NAMES)
def test_density_adds_up_to_one(name):
    line = torch.linspace(-8, 8, 321)
    grid = torch.cartesian_prod(line, line)
    with torch.no_grad():
        total = bent(name).log_prob(grid).double().exp().sum() * (line[1] - line[0]) ** 2
    assert total.item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("name", NAMES)
def test_draws_follow_the_density(name):
    """Mean log-density of draws is the negative entropy, which importance sampling finds another way."""
    prior = bent(name)
    with torch.no_grad():
        drawn = prior.draw(seeds_of(0, range(8000)), 1.0)
        wide = torch.distributions.Normal(0.0, 3.0)
        z = wide.sample((200_000, 2))
        weights = (prior.log_prob(z) - wide.log_prob(z).sum(1)).exp()
        assert prior.log_prob(drawn).mean().item() == pytest.approx(
            float((weights * prior.log_prob(z)).mean()), abs=0.06
        )
        torch.testing.assert_close(drawn.mean(0), (weights[:, None] * z).mean(0), atol=0.1, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [1, 5])
def test_a_draw_depends_on_its_seed_only(name, size):
    prior = bent(name, size)
    seeds = seeds_of(0, range(6))
    together = prior.draw(seeds, 0.7)
    assert together.shape == (6, size)
    torch.testing.assert_close(torch.cat([prior.draw(seeds[i : i + 1], 0.7) for i in range(6)]), together)
    assert prior.draw(seeds, 0.0).std(0).max() < prior.draw(seeds, 1.0).std(0).max()


def test_a_flow_inverts_itself():
    prior = bent("flow", 6)
    z = torch.randn(9, 6)
    out, grown = z, torch.zeros(9)
    for coupling in prior.couplings:
        out, more = coupling.inward(out)
        grown = grown + more
    back = out
    for coupling in reversed(list(prior.couplings)):
        back = coupling.outward(back)
    torch.testing.assert_close(back, z, atol=1e-4, rtol=1e-4)
    jacobian = torch.autograd.functional.jacobian(lambda x: prior.couplings[0].inward(x[None])[0][0], z[0])
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], prior.couplings[0].inward(z[:1])[1][0])
