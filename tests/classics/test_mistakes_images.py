"""The mistakes that tutorials make with GANs, VAEs and MLPs; each test fails when its mistake is planted."""

import itertools

import numpy as np
import pytest
import torch

from miaobi import modalities
from miaobi.networks.mlp import MLP
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Form, Spec, vector_spec
from tests.support.tensors import CONDITIONS, batch_of, family_of, freeze_but

MNIST = Spec(Form.TENSOR, 1, (28, 28), levels=256)
TEXTBOOK = {"generator": {"hidden": [128, 256], "output": "tanh"}, "discriminator": {"hidden": [128, 256]}}
LOSSES = ["relativistic", "non_saturating", "least_squares", "hinge", "wasserstein_gp"]
SEEDS = seeds_of(1, range(6))


def textbook_gan(**options):
    network = {role: {"name": "mlp", **section} for role, section in TEXTBOOK.items()}
    return family_of("gan", {"latent": 100, "loss": "non_saturating", **options}, target=MNIST, network=network)


def gradient(module):
    grads = [p.grad for p in module.parameters() if p.grad is not None]
    return sum(float(g.abs().sum()) for g in grads)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_generators_turn_teaches_the_generator(loss):
    """Detached fakes in the generator's turn leave it as it was."""
    family = family_of("gan", {"loss": loss, "latent": 4})
    freeze_but(family, ("generator",))
    family(batch_of(), "generator", SEEDS).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in family.generator.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_discriminators_turn_leaves_the_generator_alone(loss):
    """Fakes that are not detached here would train the generator to be found out, or add to its next gradient."""
    family = family_of("gan", {"loss": loss, "latent": 4})
    family(batch_of(), "discriminator", SEEDS).total.backward()
    assert all(p.grad is None for p in family.generator.parameters())
    assert gradient(family.discriminator) > 0


@pytest.mark.parametrize("loss", LOSSES)
def test_the_generators_turn_leaves_the_discriminator_alone(loss):
    """Gradients accumulated across phases: the discriminator must not start its turn with the generator's."""
    family = family_of("gan", {"loss": loss, "latent": 4, "penalty_interval": 1})
    for phase, other in zip(family.phases(), ("generator", "discriminator"), strict=True):
        freeze_but(family, phase.modules)
        family(batch_of(), phase.name, SEEDS).total.backward()
        assert gradient(getattr(family, other)) == 0
        assert gradient(getattr(family, phase.name)) > 0


def test_data_is_trained_as_data_and_noise_as_noise():
    """The discriminator is shown the batch as real, and as fake what the generator makes of a normal latent."""
    family = textbook_gan()
    batch = batch_of(MNIST)
    parts = family(batch, "discriminator", SEEDS).parts
    latents = noise(SEEDS, "latent", (100,))
    assert latents.mean().abs() < 0.2
    assert abs(latents.std() - 1) < 0.1
    torch.testing.assert_close(parts["real_logit"], family.discriminator(batch.target.values).sum())
    torch.testing.assert_close(parts["fake_logit"], family.discriminator(family.generator(latents)).sum())


def test_noise_is_fresh_every_step():
    family = textbook_gan()
    batch = batch_of(MNIST)
    first, second = (family(batch, "generator", seeds_of(step, range(6))).total for step in (1, 2))
    assert first != second


def test_the_decoder_reads_the_posterior_through_reparameterisation():
    """Prior samples decoded in place of the posterior's, or a sample without gradient, teach the encoder nothing."""
    family = family_of("vae", {"latent": 4, "beta": 0.0, "likelihood": "bernoulli"}, target=MNIST)
    batch, read = batch_of(MNIST), []
    family.decoder.register_forward_hook(lambda module, inputs, out: read.append(inputs[0]))
    family(batch, "vae", SEEDS).total.backward()
    mean, log_std = family.encoder(batch.target.values).chunk(2, 1)
    torch.testing.assert_close(read[0], mean + log_std.exp() * noise(SEEDS, "posterior", (4,)))
    means, widths = family.encoder.head.linear.weight.grad.chunk(2, 0)
    assert means.abs().sum() > 0
    assert widths.abs().sum() > 0


def test_the_bound_sums_pixels_and_latents_alike():
    """Mean-reduced reconstruction beside mean-reduced divergence weighs them hundreds of times wrong."""
    family = family_of("vae", {"latent": 2, "likelihood": "bernoulli"}, target=MNIST)
    batch, read = batch_of(MNIST), []
    family.decoder.register_forward_hook(lambda module, inputs, out: read.append(out))
    loss = family(batch, "vae", SEEDS)
    mean, log_std = family.encoder(batch.target.values).chunk(2, 1)
    posterior = torch.distributions.Normal(mean, log_std.exp())
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0, 1)).sum()
    share = (batch.target.values + 1) / 2
    pixels = torch.nn.functional.binary_cross_entropy_with_logits(read[0], share, reduction="sum")
    torch.testing.assert_close(loss.total, pixels + divergence)
    assert loss.count == 6


@pytest.mark.parametrize("role", TEXTBOOK)
def test_no_layer_is_overwritten_by_the_next(role):
    network = getattr(textbook_gan(), role)
    widths = {"generator": [100, 128, 256, 784], "discriminator": [784, 128, 256, 1]}[role]
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == list(itertools.pairwise(widths))
    x = torch.randn(4, widths[0]).view(4, -1, *network.source.space)
    before = network(x)
    for layer in layers:
        kept = layer.weight.data.clone()
        layer.weight.data.mul_(1.5)
        assert not torch.allclose(network(x), before, atol=1e-6)
        layer.weight.data.copy_(kept)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_no_activation_is_forgotten(depth):
    """With slope 1 a leaky ReLU is the identity, so only the activations keep the network from being affine."""
    torch.manual_seed(0)
    network = MLP(MLP.Config(hidden=[64] * depth), vector_spec(8), vector_spec(8), {})
    calls = []
    network.activation.register_forward_hook(lambda module, inputs, out: calls.append(inputs[0].shape))
    x, y = torch.randn(4, 8), torch.randn(4, 8)
    with torch.no_grad():
        bend = network(x) + network(y) - network(x + y) - network(torch.zeros_like(x))
    assert bend.abs().max() > 1e-2
    assert len(calls) == 4 * depth


def test_pixels_and_tanh_share_a_range():
    """Unscaled pixels against tanh: data must span [-1, 1], and the generator's ends must be black and white."""
    image = modalities.create("image")
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 8, 8) * 4
    pixels[0, 0, 0], pixels[0, 7, 7] = 0, 255
    values = image.collate([pixels]).values
    assert values.min() == -1
    assert values.max() == 1
    assert np.array_equal(image.split_batch(values, None)[0], pixels)
    family = textbook_gan()
    made = family.generator(50 * torch.randn(64, 100))
    assert made.min() < -0.9
    assert made.max() > 0.9
    assert made.abs().max() <= 1


@pytest.mark.parametrize("name", ["gan", "vae"])
@pytest.mark.parametrize("network", ["mlp", "convolutional"])
def test_a_short_last_batch_needs_no_full_size_labels(name, network):
    family = family_of(name, {"latent": 4}, conditions=CONDITIONS, network=network)
    for rows in (6, 1):
        batch = batch_of(conditions=CONDITIONS, rows=rows)
        for phase in family.phases():
            loss = family(batch, phase.name, SEEDS[:rows])
            assert loss.count == rows
            assert torch.isfinite(loss.total)


@pytest.mark.parametrize("name", ["gan", "vae"])
def test_dropout_is_off_while_generating(name):
    family = family_of(name, {"latent": 4}, network={"name": "mlp", "dropout": 0.5})
    assert torch.equal(*(family.eval().sample({}, seeds=SEEDS).values for _ in range(2)))
