import math

import pytest
import torch

from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.families._posteriors import Posterior
from miaobi.families.vae import VAE
from miaobi.sampling.noise import derive, noise, seeds_of
from miaobi.types import Batch, Field, Form, Spec
from tests.support.tensors import CONDITIONS, IMAGE, SPACES, batch_of, family_of, freeze_but

SEEDS = seeds_of(1, range(6))


def stir(family, size=0.05):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in family.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return family


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_sound_images_and_video_with_label_and_text(space, network):
    target = Spec(Form.TENSOR, 2, space)
    family = family_of("vae", {"latent": 4}, target=target, conditions=CONDITIONS, network=network)
    batch = batch_of(target, CONDITIONS)
    freeze_but(family, family.phases()[0].modules)
    loss = family(batch, "vae", SEEDS)
    loss.total.backward()
    assert all(p.grad is not None for p in family.parameters())
    assert family.sample(batch.conditions, seeds=SEEDS).values.shape == batch.target.values.shape
    assert torch.isfinite(family.log_likelihood(batch, seeds=SEEDS).nats).all()


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "laplace", "discretised_logistic"])
@pytest.mark.parametrize("prior", ["standard", "mixture", "flow"])
def test_every_likelihood_and_prior_trains_and_adds_up(likelihood, prior):
    options = {"latent": 4, "likelihood": likelihood, "prior": prior, "scale": "shared"}
    family = stir(family_of("vae", options))
    batch = batch_of()
    whole = family(batch, "vae", SEEDS)
    parts = [family(batch.select(cut), "vae", SEEDS[cut]) for cut in (slice(0, 4), slice(4, 6))]
    torch.testing.assert_close(sum(p.total for p in parts), whole.total, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(sum(p.statistics["moments"] for p in parts), whole.statistics["moments"])


def test_the_closed_form_divergence_is_the_estimates_mean():
    family = stir(family_of("vae", {"latent": 3}), 0.2)
    mean, log_std = torch.randn(1, 3).expand(20_000, 3), torch.full((20_000, 3), -0.5)
    z = mean + log_std.exp() * torch.randn(20_000, 3)
    posterior = Posterior(mean, log_std)
    exact = posterior.divergence(family.prior, z).sum(1)[0]
    estimate = (posterior.log_prob(z) - family.prior.log_prob(z)).mean()
    assert exact.item() == pytest.approx(estimate.item(), abs=0.05)


def test_more_importance_samples_tighten_the_bound():
    batch = batch_of(rows=64)
    seeds = seeds_of(1, batch.ids)
    bounds = []
    for count in (1, 8, 64):
        family = stir(family_of("vae", {"latent": 4, "importance_samples": count}), 0.2)
        found = family.log_likelihood(batch, seeds=seeds)
        assert not found.exact
        assert found.predicted.tolist() == [IMAGE.size] * 64
        bounds.append(found.nats.mean().item())
    assert bounds[0] > bounds[1] > bounds[2]


def test_a_linear_vae_bounds_the_evidence_that_is_known():
    """With a linear-normal decoder the evidence is a normal density, which the bound must approach from above."""
    target = Spec(Form.TENSOR, 3)
    options = {"latent": 2, "scale": "shared", "importance_samples": 4096, "likelihood": "gaussian"}
    hidden = {"hidden": [2], "activation": "leaky_relu", "slope": 1.0}
    family = stir(family_of("vae", options, target=target, network={"name": "mlp", **hidden}), 0.3)
    torch.nn.init.constant_(family.likelihood.slow_log_scale, -0.1)
    decoder, scale = family.decoder, family.likelihood.split(torch.zeros(1, 3))[1].exp().flatten()
    weight = decoder.head.linear.weight @ decoder.layers[0].weight
    offset = decoder.head.linear.weight @ decoder.layers[0].bias + decoder.head.linear.bias
    evidence = torch.distributions.MultivariateNormal(offset, weight @ weight.T + torch.diag(scale**2))
    batch = batch_of(target)
    nats = family.log_likelihood(batch, seeds=SEEDS).nats
    torch.testing.assert_close(nats, -evidence.log_prob(batch.target.values), atol=0.15, rtol=0.02)


def test_beta_and_free_bits_weigh_the_divergence():
    batch = batch_of()
    plain, doubled, free = (
        stir(family_of("vae", {"latent": 4, **o}), 0.1)(batch, "vae", SEEDS)
        for o in ({}, {"beta": 2.0}, {"free_bits": 50.0})
    )
    torch.testing.assert_close(doubled.total - plain.total, plain.parts["divergence"], rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(free.total, plain.parts["reconstruction"] + 6 * 4 * 50.0)


def test_posterior_collapse_shows():
    family = family_of("vae", {"latent": 4})
    family.after_phase("vae", {"moments": torch.stack([torch.ones(4), torch.ones(4), torch.tensor([1.0, 1, 2, 3])])})
    assert family.active_units() == 2
    assert family_of("vae").active_units() == 0


def test_latents_round_trip():
    family = stir(family_of("vae", {"latent": 4}))
    batch = batch_of()
    mean = family.encode(batch)
    assert mean.values.shape == (6, 4)
    assert torch.equal(mean.values, family.encode(batch).values)
    assert not torch.equal(mean.values, family.encode(batch, seeds=SEEDS).values)
    assert family.decode(mean, {}, seeds=SEEDS).values.shape == batch.target.values.shape


def test_controls_choose_temperature_and_pixels():
    family = stir(family_of("vae", {"latent": 4}), 0.2)

    def made(**controls):
        return family.sample({}, controls=VAE.Controls(**controls), seeds=SEEDS).values

    assert torch.equal(made(temperature=0)[0], made(temperature=0)[1])
    assert not torch.equal(made()[0], made()[1])
    assert not torch.equal(made(mean=False), made())


def test_the_likelihood_follows_the_data():
    assert family_of("vae").likelihood.predicted
    assert type(family_of("vae").likelihood).__name__ == "DiscretisedLogisticLikelihood"
    assert type(family_of("vae", target=Spec(Form.TENSOR, 1, (8, 8))).likelihood).__name__ == "GaussianLikelihood"


@pytest.mark.parametrize("prior", ["standard", "flow"])
def test_a_tiny_vae_overfits(prior):
    torch.manual_seed(0)
    family = family_of("vae", {"latent": 4, "prior": prior}).train()
    batch = batch_of()
    optimiser = torch.optim.Adam(family.parameters(), lr=3e-3)
    losses = []
    for step in range(150):
        loss = family(batch, "vae", seeds_of(step, batch.ids))
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        optimiser.step()
        family.after_phase("vae", loss.statistics)
        losses.append(loss.total.item() / 6)
    assert losses[-1] < 0.75 * losses[0]
    assert math.isfinite(losses[-1])


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_a_spatial_latent_keeps_the_targets_space(space, network):
    target = Spec(Form.TENSOR, 2, space)
    options = {"latent": 3, "spatial": 4, "free_bits": 0.01, "importance_samples": 2}
    family = stir(family_of("vae", options, target=target, conditions=CONDITIONS, network=network))
    batch = batch_of(target, CONDITIONS)
    coarse = Spec(Form.TENSOR, 3, tuple(-(-extent // 4) for extent in space))
    assert family.representations() == {"latents": coarse}
    loss = family(batch, "vae", SEEDS)
    loss.total.backward()
    assert all(p.grad is not None for p in family.parameters())
    family.after_phase("vae", loss.statistics)
    assert 0 <= family.active_units() <= coarse.size
    z = family.encode(batch)
    assert z.values.shape == (6, 3, *coarse.space)
    assert not torch.equal(z.values, family.encode(batch, seeds=SEEDS).values)
    assert family.decode(z, batch.conditions, seeds=SEEDS).values.shape == batch.target.values.shape
    assert family.sample(batch.conditions, seeds=SEEDS).values.shape == batch.target.values.shape
    assert torch.isfinite(family.log_likelihood(batch, seeds=SEEDS).nats).all()


def test_a_spatial_latent_is_charged_every_number():
    """The bound, its weights and free bits are of all numbers, as by torch's own normals."""
    family = stir(family_of("vae", {"latent": 2, "spatial": 2, "importance_samples": 1}), 0.05)
    batch = batch_of()
    made = family.posterior(batch)
    mean, log_std = made.mean, made.log_std
    assert mean.shape == (6, 2, 4, 4)
    posterior, prior = torch.distributions.Normal(mean, log_std.exp()), torch.distributions.Normal(0.0, 1.0)
    found = family(batch, "vae", SEEDS)
    nats = torch.distributions.kl_divergence(posterior, prior)
    torch.testing.assert_close(found.parts["divergence"], nats.sum())
    torch.testing.assert_close(family.divergence(batch, seeds=SEEDS), nats.flatten(1).sum(1))
    z = mean + log_std.exp() * noise(derive(SEEDS, 0), "posterior", (2, 4, 4))
    fit = family.likelihood.log_prob(family.decoder(z), batch.target.values, derive(SEEDS, 0))
    weight = fit + (prior.log_prob(z) - posterior.log_prob(z)).flatten(1).sum(1)
    torch.testing.assert_close(family.log_likelihood(batch, seeds=SEEDS).nats, -weight)
    free = stir(family_of("vae", {"latent": 2, "spatial": 2, "free_bits": 50.0}), 0.05)(batch, "vae", SEEDS)
    torch.testing.assert_close(free.total, found.parts["reconstruction"] + 6 * 32 * 50.0)


def test_a_spatial_bound_is_tighter_with_more_importance_samples():
    batch = batch_of(rows=32)
    options = {"latent": 2, "spatial": 4}
    bounds = [
        stir(family_of("vae", {**options, "importance_samples": count}), 0.2).log_likelihood(
            batch, seeds=seeds_of(1, batch.ids)
        )
        for count in (1, 8, 64)
    ]
    nats = [bound.nats.mean().item() for bound in bounds]
    assert nats[0] > nats[1] > nats[2]


@pytest.mark.parametrize("options", [{"latent": 4}, {"latent": 2, "spatial": 2}], ids=["flat", "spatial"])
def test_latents_stand_for_the_item_without_its_conditions(options):
    family = stir(family_of("vae", options, conditions=CONDITIONS))
    batch = batch_of(conditions=CONDITIONS)
    latents = family.represent(batch, "latents")
    assert latents.values.shape[1:] == (family.latent.channels, *family.latent.space)
    assert torch.equal(latents.values, family.represent(Batch(batch.target, ids=batch.ids), "latents").values)
    assert torch.equal(
        family.restore(latents, "latents", seeds=SEEDS).values, family.decode(latents, {}, seeds=SEEDS).values
    )
    sure = family_of("vae", {**options, "condition_drop": 0.0}, conditions=CONDITIONS)
    with pytest.raises(Unsupported, match="condition_drop"):
        sure.represent(batch, "latents")
    with pytest.raises(UnknownName, match="allowed: latents"):
        family.represent(batch, "codes")


@pytest.mark.parametrize(
    ("options", "network", "steps", "rate"),
    [({"latent": 4}, "mlp", 150, 1e-2), ({"latent": 1, "spatial": 4}, "convolutional", 100, 5e-3)],
    ids=["flat", "spatial"],
)
def test_samples_of_a_conditional_vae_follow_the_label(options, network, steps, rate):
    """Each class is a bright stripe of its own: what is sampled under a label must be brightest there."""
    torch.manual_seed(0)
    # A divergence that costs more teaches the latent sooner to leave to the label what the label tells.
    options = {**options, "beta": 4.0, "scale": "shared", "likelihood": "gaussian", "condition_drop": 0.0}
    family = family_of("vae", options, conditions={"label": CONDITIONS["label"]}, network=network)
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(family.parameters(), lr=rate)
    for step in range(steps):
        classes = torch.randint(3, (32,), generator=generator)
        values = torch.full((32, 1, 8, 8), -0.8) + 0.2 * torch.rand(32, 1, 8, 8, generator=generator)
        for row, kind in enumerate(classes.tolist()):
            values[row, :, 2 * kind : 2 * kind + 2] += 1.4
        ids = torch.arange(32)
        loss = family(Batch(Field(values), {"label": Field(classes)}, ids=ids), "vae", seeds_of(step, ids))
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        optimiser.step()
    asked = torch.arange(60) % 3
    made = family.sample({"label": Field(asked)}, seeds=seeds_of(9, range(60))).values
    stripes = made[:, 0, :6].unflatten(1, (3, 2)).mean((2, 3))
    assert (stripes.argmax(1) == asked).float().mean() > 0.95


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="sequence_vae"):
        VAE.ports(VAE.Config(), Spec(Form.TOKENS, vocabulary=3, max_length=2), {})
    with pytest.raises(Unsupported, match="gaussian"):
        family_of("vae", {"likelihood": "discretised_logistic"}, target=Spec(Form.TENSOR, 1, (8, 8)))
    with pytest.raises(Unsupported, match="prefix"):
        family_of("vae").sample({}, prefix=Field(torch.zeros(1, 1)), seeds=SEEDS)
    with pytest.raises(Unsupported, match="learned priors are of flat latents"):
        family_of("vae", {"spatial": 4, "prior": "flow"})
    with pytest.raises(InvalidRecipe, match="spatial"):
        VAE.Config.parse({"spatial": 3})
    with pytest.raises(InvalidRecipe, match="did you mean latent"):
        VAE.Config.parse({"latents": 3})
