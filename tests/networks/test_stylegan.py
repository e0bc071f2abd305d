import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.networks import Conditioning
from miaobi.networks._modulated import Mapping, Modulated
from miaobi.networks.stylegan import StyleGAN
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Form, Spec, vector_spec

SPACES = [(28, 28), (64, 64), (4096,), (4, 16, 16), (7, 13), (5,), (1, 1), (3, 1, 9)]
IMAGE = Spec(Form.TENSOR, 3, (16, 16))


def build(target=IMAGE, conditions=None, **options):
    torch.manual_seed(0)
    config = StyleGAN.preset("tiny", vector_spec(6), target, conditions or {}).model_copy(update=options)
    return StyleGAN(config, vector_spec(6), target, conditions or {})


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_any_extents(space):
    network = build(Spec(Form.TENSOR, 2, space))
    made = network(torch.randn(2, 6))
    assert made.shape == (2, 2, *space)
    assert torch.isfinite(made).all()
    assert network.layers == sum(len(stage) for stage in network.stages)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_modulation_equals_scaling_the_weights_item_by_item(dims):
    torch.manual_seed(0)
    layer = Modulated(dims, 5, 4, 6, 3)
    x, style = torch.randn(3, 4, *[6] * dims), torch.randn(3, 5)
    scales = layer.affine(style)
    for row in range(3):
        weight = layer.weight * scales[row].reshape(1, -1, *[1] * dims)
        weight = weight / weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (dims + 1))
        wanted = layer.convolve(x[row : row + 1], weight, padding=1)
        torch.testing.assert_close(layer(x, style)[row : row + 1], wanted, rtol=1e-4, atol=1e-5)


def test_only_the_direction_of_a_latent_counts():
    network = build()
    z = torch.randn(4, 6)
    torch.testing.assert_close(network.map(z), network.map(3 * z), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network.map(z), network.map(-z))


def test_the_mappings_rate_slows_learning_not_the_first_output():
    torch.manual_seed(0)
    moved = []
    for rate in (1.0, 0.1):
        mapping = Mapping(8, 0, 64, 2, rate)
        z = torch.randn(256, 8)
        before = mapping(z, None)
        assert 0.5 < before.square().mean() < 2
        optimiser = torch.optim.Adam(mapping.parameters(), lr=1e-3)
        before.mean().backward()
        optimiser.step()
        moved.append(float((mapping(z, None) - before).detach().abs().mean()))
    assert moved[1] < 0.3 * moved[0]


def test_one_style_a_layer():
    network = build()
    styles = network.map(torch.randn(2, 6))
    spread = styles[:, None].repeat(1, network.layers, 1)
    torch.testing.assert_close(network.synthesise(styles), network.synthesise(spread))
    for layer in range(network.layers):
        changed = spread.clone()
        changed[:, layer] += 1
        assert not torch.allclose(network.synthesise(changed), network.synthesise(spread))


def test_noise_inputs_are_named_shaped_and_start_silent():
    network = build()
    drawn = {name: noise(seeds_of(0, range(2)), name, shape) for name, shape in network.noises.items()}
    assert len(drawn) == network.layers
    z = torch.randn(2, 6)
    assert torch.equal(network(z, noise=drawn), network(z))
    with torch.no_grad():
        for stage in network.stages:
            for layer in stage:
                layer.noise.strength.fill_(0.5)
    assert not torch.allclose(network(z, noise=drawn), network(z))
    assert torch.equal(network(z), network(z))
    assert not any("fixed" in name for name in network.state_dict())


def test_scales_are_sane_at_the_start():
    network = build(Spec(Form.TENSOR, 3, (64, 64)))
    made = network(torch.randn(8, 6))
    assert made.std() < 1


def test_ports_and_conditions_that_it_cannot_serve():
    for source, target in ((IMAGE, vector_spec(1)), (IMAGE, IMAGE), (vector_spec(3), vector_spec(3))):
        with pytest.raises(Unsupported, match="flat latent"):
            StyleGAN.preset("tiny", source, target, {})
    with pytest.raises(Unsupported, match="spatial"):
        build(conditions={"mask": IMAGE}, conditioner={"mask": Conditioning(how="spatial")})
