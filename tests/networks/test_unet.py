import math

import pytest
import torch

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.networks.unet import UNet
from miaobi.types import Form, Spec
from tests.networks import _denoisers as shared


def build(space, conditions=None, **options):
    return shared.build(UNet, space, conditions, **options)


DDPM = {
    "channels": [8, 16],
    "blocks": 2,
    "middle": 2,
    "patch": 1,
    "skips": "block",
    "resample": "strided",
    "direct": False,
}


@pytest.mark.parametrize("space", [(28, 28), (7, 13), (33,), (3, 6, 5), (1, 1)], ids=str)
def test_the_topology_of_ddpm_on_any_space(space):
    network = build(space, shared.specs(space), **DDPM)
    out = network(shared.source_batch(network), shared.fields(space), time=torch.rand(3))
    out.square().sum().backward()
    assert out.shape == (3, 2, *space)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_topology_of_ddpm_has_as_many_parameters():
    """Those of diffusers 0.42.1's UNet2DModel, whose blocks are shifted only, and normalise with a learned scale."""
    options = {**DDPM, "channels": [32, 64, 96], "groups": 16, "head_width": 8, "style": 128}
    network = build((32, 32), ports=(3, 3), **options)
    blocks = [module for module in network.modules() if type(module).__name__ == "Residual"]
    widths = [block.second.out_channels for block in blocks]
    extra = sum(128 * width + width - 2 * width for width in widths)
    assert sum(p.numel() for p in network.parameters()) - extra == 2_607_363


def test_every_skip_is_used():
    network = build((8, 8), **DDPM)
    joined = [layer.joins for level in network.up for layer in level.layers]
    assert joined == [16, 16, 8, 8, 8, 8]
    assert [layer.joins for level in build((8, 8), blocks=2).up for layer in level.layers] == [0, 0, 16, 0]


def test_an_even_kernel_is_refused():
    with pytest.raises(InvalidRecipe, match="even"):
        UNet.Config.parse({"kernel": 4})


def test_attention_is_where_positions_are_few():
    network = build((32, 32), attention=64)
    attends = [all(layer.attention is not None for layer in level.layers) for level in network.down]
    assert dict(zip(network.spaces, attends, strict=True)) == {(16, 16): False, (8, 8): True}
    without = build((32, 32), attention=0)
    assert not any(layer.attention for level in [*without.down, *without.up] for layer in level.layers)
    assert build((32, 32), {"title": shared.specs((1,))["title"]}, attention=0).middle[0].attention is not None


def test_a_step_is_told_where_the_config_says_so():
    network = build((6, 6), step=True)
    x, time = shared.source_batch(network), torch.full((3,), 0.5)
    without, zero = network(x, time=time), network(x, time=time, step=torch.zeros(3))
    assert torch.equal(without, zero)
    change = (network(x, time=time, step=torch.tensor([0.0, 1 / 64, 1.0])) - zero).flatten(1).abs().amax(1)
    assert change[0] < 1e-6 < change[1:].min()
    with pytest.raises(Unsupported, match="step: true"):
        build((6, 6))(x, time=time, step=time)


@pytest.mark.parametrize("size", ["tiny", "small", "large"])
@pytest.mark.parametrize(("channels", "space"), [(3, (8, 32, 32)), (64, (63,)), (1, (8000,)), (4, (32, 32))])
def test_a_preset_lets_every_number_of_a_patch_pass(size, channels, space):
    port = Spec(Form.TENSOR, channels, space)
    config = UNet.preset(size, port, port, {})
    network = UNet(config, port, port, {})
    assert config.channels[0] >= channels * math.prod(network.patch)
