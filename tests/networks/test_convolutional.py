import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.networks import Conditioning
from miaobi.networks.convolutional import Convolutional
from miaobi.types import Field, Form, Spec, vector_spec

SPACES = [(28, 28), (8, 8), (4096,), (8, 16, 16), (7, 13), (5,), (1, 1), (3, 1, 9)]
MASK = {"mask": Spec(Form.TENSOR, 2, (8, 8))}


def build(source, target, conditions=None, size="tiny", **options):
    torch.manual_seed(0)
    config = Convolutional.preset(size, source, target, conditions or {})
    return Convolutional(config.model_copy(update=options), source, target, conditions or {})


def shaped(space, channels=2):
    return Spec(Form.TENSOR, channels, space)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_any_extents_up_down_and_across(space):
    item = shaped(space)
    x = torch.randn(2, 2, *space)
    assert build(vector_spec(5), item)(torch.randn(2, 5)).shape == x.shape
    assert build(item, vector_spec(3))(x).shape == (2, 3)
    assert build(item, item)(x).shape == x.shape


def test_between_an_image_and_its_spatial_latent():
    image, latent = shaped((32, 32), 3), shaped((8, 8), 4)
    down, up = build(image, latent), build(latent, image)
    assert up(down(torch.randn(2, 3, 32, 32))).shape == (2, 3, 32, 32)
    with pytest.raises(Unsupported, match="factor"):
        build(image, shaped((5, 5)))


@pytest.mark.parametrize("patch", [1, 2, 3, 8])
def test_patches_keep_the_ports_shapes(patch):
    image = shaped((12, 7))
    x = torch.randn(2, 2, 12, 7)
    assert build(image, image, patch=patch)(x).shape == x.shape
    assert build(vector_spec(4), image, patch=patch)(torch.randn(2, 4)).shape == x.shape
    assert build(image, vector_spec(1), patch=patch)(x).shape == (2, 1)


def test_a_spatial_condition_acts_where_it_is():
    network = build(vector_spec(4), shaped((8, 8)), MASK, conditioner={"mask": Conditioning(how="spatial")})
    z, mask = torch.randn(1, 4), torch.zeros(1, 2, 8, 8)
    changed = mask.clone()
    changed[..., 0] = 1
    effect = (network(z, {"mask": Field(changed)}) - network(z, {"mask": Field(mask)})).abs().amax((0, 1, 2))
    # Coarser stages see the condition averaged, so it reaches a little further, and less.
    assert effect[0] > 1e-4
    assert effect[0] > effect[-1]


def test_fresh_blocks_are_the_identity():
    network = build(shaped((8, 8)), shaped((8, 8)))
    x = torch.randn(2, network.pyramid.channels[0], 8, 8)
    stage = network.down.stages[0]
    assert torch.equal(stage(x, None, None), x)


def test_modulation_reaches_every_block():
    network = build(vector_spec(4), shaped((8, 8)), {"label": Spec(Form.LABEL, vocabulary=3)})
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape))
    network(torch.randn(3, 4), {"label": Field(torch.arange(3))}).sum().backward()
    modulations = [p for name, p in network.named_parameters() if "modulate.weight" in name]
    assert len(modulations) == len(network.pyramid.spaces) * network.config.blocks
    assert all(p.grad.abs().sum() > 0 for p in modulations)


def test_second_derivatives_exist_under_autocast():
    network = build(shaped((7, 9)), vector_spec(1))
    x = torch.randn(2, 2, 7, 9, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    slope.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_ports_that_it_cannot_serve_are_refused():
    for source, target in [
        (vector_spec(3), vector_spec(3)),
        (Spec(Form.TOKENS, vocabulary=4, max_length=3), shaped((8, 8))),
        (shaped((8, 8)), shaped((8,))),
        (vector_spec(3), shaped((2, 2, 2, 2))),
    ]:
        with pytest.raises(Unsupported, match="what to do"):
            Convolutional.preset("tiny", source, target, {})
    with pytest.raises(Unsupported, match="label"):
        build(
            vector_spec(2),
            shaped((8, 8)),
            {"label": Spec(Form.LABEL, vocabulary=2)},
            conditioner={"label": Conditioning(how="sequence")},
        )
