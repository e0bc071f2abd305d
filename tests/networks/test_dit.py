import pytest
import torch
from hypothesis import given, settings

from miaobi.errors import Unsupported
from miaobi.networks._axes import axial_angles, wave_embedding
from miaobi.networks._functions import rotate
from miaobi.networks.dit import DiT
from miaobi.types import Field, Form, Spec, vector_spec
from tests.networks import _denoisers as shared

SLOWLY = settings(max_examples=10, deadline=None, derandomize=True)


def build(space, conditions=None, **options):
    return shared.build(DiT, space, conditions, **options)


@SLOWLY
@given(space=shared.SPACES)
def test_any_space_of_any_axes(space):
    network = build(space, ports=(2, 3))
    out = network(shared.source_batch(network), time=torch.tensor([0.0, 0.5, 1.0]))
    assert out.shape == (3, 3, *space)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("space", [(63,), (7, 9), (3, 4, 5)], ids=str)
def test_the_output_starts_at_zero(space):
    network = build(space, shared.specs(space), perturbed=False)
    assert not network(shared.source_batch(network), shared.fields(space), time=torch.rand(3)).any()


@SLOWLY
@given(space=shared.SPACES)
def test_gradients_reach_every_parameter(space):
    network = build(space, shared.specs(space))
    network(shared.source_batch(network), shared.fields(space), time=torch.rand(3)).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize("name", ["label", "title", "mask"])
def test_a_condition_matters_where_it_is_present(name):
    space = (6, 6)
    network, given_ = build(space, shared.specs(space)), shared.fields(space)
    x, field = shared.source_batch(network), given_[name]
    other = Field(field.values.flip(-1 if name == "mask" else 0), field.lengths, present=field.present)
    if name == "title":
        other = Field((field.values + 1) % 7, field.lengths, present=field.present)
    if name == "label":
        other = Field((field.values + 1) % 3, present=field.present)
    change = (network(x, given_) - network(x, given_ | {name: other})).flatten(1).abs().amax(1)
    assert (change[field.present] > 1e-6).all()
    assert (change[~field.present] == 0).all()


@pytest.mark.parametrize("name", ["label", "title", "mask"])
def test_a_missing_condition_is_one_absent_for_every_row(name):
    space = (6, 6)
    network, given_ = build(space, shared.specs(space)), shared.fields(space)
    x, field = shared.source_batch(network), given_[name]
    absent = Field(field.values, field.lengths, present=torch.zeros(3, dtype=torch.bool))
    left = network(x, given_ | {name: absent})
    right = network(x, {key: value for key, value in given_.items() if key != name})
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    assert (left - network(x, given_)).abs().max() > 1e-6


def test_padding_of_a_sequence_changes_nothing():
    space = (6, 6)
    network, given_ = build(space, shared.specs(space)), shared.fields(space)
    x, title = shared.source_batch(network), given_["title"]
    noisy = torch.where(title.mask(), title.values, (title.values + 3) % 7)
    longer = Field(torch.cat([noisy, noisy], 1), title.lengths, present=title.present)
    torch.testing.assert_close(network(x, given_), network(x, given_ | {"title": longer}), rtol=1e-4, atol=1e-5)


def test_a_spatial_condition_of_another_extent_is_resized():
    space = (8, 8)
    network = build(space, {"mask": shared.shaped((4, 4), 1)})
    x, small = shared.source_batch(network), torch.rand(3, 1, 4, 4)
    out = network(x, {"mask": Field(small)})
    assert out.shape == x.shape
    assert (out - network(x, {"mask": Field(small.flip(-1))})).abs().max() > 1e-6


@SLOWLY
@given(space=shared.SPACES)
def test_a_batch_equals_its_items_one_by_one(space):
    network = build(space, shared.specs(space)).eval()
    x, given_, time = shared.source_batch(network), shared.fields(space), torch.tensor([0.1, 0.6, 0.9])
    rows = [slice(row, row + 1) for row in range(3)]
    with torch.no_grad():
        alone = [network(x[r], {k: f.select(r) for k, f in given_.items()}, time=time[r]) for r in rows]
        torch.testing.assert_close(network(x, given_, time=time), torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_time_changes_the_output_and_its_absence_is_time_zero():
    network = build((8, 8))
    x = shared.source_batch(network)
    start, end = torch.zeros(3), torch.tensor([0.0, 1e-3, 1.0])
    change = (network(x, time=end) - network(x, time=start)).flatten(1).abs().amax(1)
    assert change[0] == 0
    assert (change[1:] > 1e-5).all()
    assert torch.equal(network(x), network(x, time=start))


def test_it_overfits_a_tiny_denoising_problem():
    first, last = shared.overfit(build((5, 6), perturbed=False), steps=100)
    assert last < 0.3 * first


def test_autocast_leaves_the_output_in_float32():
    network = build((9, 8))
    x = shared.source_batch(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = network(x, time=torch.rand(3))
        out.sum().backward()
    assert out.dtype is torch.float32
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_ports_that_it_cannot_serve_are_refused():
    image = shared.shaped((8, 8))
    for source, target, cure in [
        (vector_spec(3), vector_spec(3), "mlp"),
        (Spec(Form.TOKENS, vocabulary=4, max_length=3), image, "transformer"),
        (image, shared.shaped((4, 4)), "convolutional"),
        (vector_spec(3), image, "convolutional"),
        (shared.shaped((2, 2, 2, 2)), shared.shaped((2, 2, 2, 2)), "transformer"),
    ]:
        with pytest.raises(Unsupported, match=cure):
            DiT.preset("tiny", source, target, {})
        with pytest.raises(Unsupported, match=cure):
            DiT(DiT.Config(), source, target, {})
    with pytest.raises(Unsupported, match="mask"):
        build((8, 8), {"mask": shared.shaped((8,), 1)})


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
