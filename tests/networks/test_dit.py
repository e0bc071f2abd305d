import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.networks._axes import axial_angles, wave_embedding
from miaobi.networks._functions import rotate
from miaobi.networks.dit import DiT
from tests.networks import _denoisers as shared


def build(space, conditions=None, **options):
    return shared.build(DiT, space, conditions, **options)


def test_fresh_blocks_are_the_identity():
    network = build((8, 8), perturbed=False)
    x, style = torch.randn(2, 64, network.config.width), torch.randn(2, network.config.width)
    turns = network.angles.cos(), network.angles.sin()
    assert len(network.blocks) == network.config.depth
    for block in network.blocks:
        assert torch.equal(block(x, style, turns, None), x)


@pytest.mark.parametrize(
    ("space", "patch"), [((32, 32), [4, 4]), ((16384,), [256]), ((8, 64, 64), [2, 16, 16]), ((5, 7), [1, 1])], ids=str
)
def test_presets_leave_few_positions_over_all_axes_alike(space, patch):
    source = shared.shaped(space)
    assert DiT.preset("tiny", source, source, {}).patch == patch


@pytest.mark.parametrize("patch", [[1], [3], [16], [2, 5]], ids=str)
def test_any_patch_keeps_the_ports_shape(patch):
    network = build((7, 12), patch=patch)
    x = shared.source_batch(network)
    assert network(x).shape == x.shape


def test_a_patch_that_does_not_fit_the_axes_is_refused():
    with pytest.raises(Unsupported, match="axes"):
        build((4, 4, 4), patch=[2, 2])


def test_attention_turns_by_distance_along_every_axis():
    """Products of rotated queries and keys are those of their differences of place, whichever the axis."""
    space = (3, 4, 5)
    angles = axial_angles(space, 16, 100.0)
    q, k = torch.randn(2, 16)
    scores = (
        rotate(q.expand(60, 16), angles.cos(), angles.sin()) @ rotate(k.expand(60, 16), angles.cos(), angles.sin()).T
    )
    grid = scores.view(*space, *space)
    torch.testing.assert_close(grid[0, 0, 0, 1, 2, 3], grid[1, 1, 1, 2, 3, 4], rtol=1e-4, atol=1e-4)
    for step in [(1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        assert (grid[(0, 0, 0, *step)] - grid[0, 0, 0, 0, 0, 0]).abs() > 1e-3


def test_every_place_is_embedded_differently():
    for space in [(64,), (8, 8), (4, 4, 4)]:
        made = wave_embedding(space, 50)
        assert made.shape == (64, 50)
        assert (torch.cdist(made, made) + torch.eye(64)).min() > 1e-2


def test_a_step_is_told_where_the_config_says_so():
    network = build((6, 6), step=True)
    x, time = shared.source_batch(network), torch.full((3,), 0.5)
    without, zero = network(x, time=time), network(x, time=time, step=torch.zeros(3))
    assert torch.equal(without, zero)
    change = (network(x, time=time, step=torch.tensor([0.0, 1 / 64, 1.0])) - zero).flatten(1).abs().amax(1)
    assert change[0] < 1e-6 < change[1:].min()
    with pytest.raises(Unsupported, match="step: true"):
        build((6, 6))(x, time=time, step=time)
