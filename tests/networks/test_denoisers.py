"""What is true of every network that denoises."""

import pytest
import torch
from hypothesis import given, settings

from miaobi.errors import Unsupported
from miaobi.networks.dit import DiT
from miaobi.networks.unet import UNet
from miaobi.types import Field, Form, Spec, vector_spec
from tests.networks import _denoisers as shared
from tests.networks._denoisers import build

SLOWLY = settings(max_examples=10, deadline=None, derandomize=True)
every = pytest.mark.parametrize("kind", [DiT, UNet], ids=lambda kind: kind.__name__)


@every
@SLOWLY
@given(space=shared.SPACES)
def test_any_space_of_any_axes(kind, space):
    network = build(kind, space, ports=(2, 3))
    out = network(shared.source_batch(network), time=torch.tensor([0.0, 0.5, 1.0]))
    assert out.shape == (3, 3, *space)
    assert torch.isfinite(out).all()


@every
@pytest.mark.parametrize("space", [(63,), (7, 9), (3, 4, 5)], ids=str)
def test_the_output_starts_at_zero(kind, space):
    network = build(kind, space, shared.specs(space), perturbed=False)
    assert not network(shared.source_batch(network), shared.fields(space), time=torch.rand(3)).any()


@every
@SLOWLY
@given(space=shared.SPACES)
def test_gradients_reach_every_parameter(kind, space):
    network = build(kind, space, shared.specs(space))
    network(shared.source_batch(network), shared.fields(space), time=torch.rand(3)).square().sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


@every
@pytest.mark.parametrize("name", ["label", "title", "mask"])
def test_a_condition_matters_where_it_is_present(kind, name):
    space = (6, 6)
    network, given_ = build(kind, space, shared.specs(space)), shared.fields(space)
    x, field = shared.source_batch(network), given_[name]
    other = Field(field.values.flip(-1 if name == "mask" else 0), field.lengths, present=field.present)
    if name == "title":
        other = Field((field.values + 1) % 7, field.lengths, present=field.present)
    if name == "label":
        other = Field((field.values + 1) % 3, present=field.present)
    change = (network(x, given_) - network(x, given_ | {name: other})).flatten(1).abs().amax(1)
    assert (change[field.present] > 1e-6).all()
    assert (change[~field.present] == 0).all()


@every
@pytest.mark.parametrize("name", ["label", "title", "mask"])
def test_a_missing_condition_is_one_absent_for_every_row(kind, name):
    space = (6, 6)
    network, given_ = build(kind, space, shared.specs(space)), shared.fields(space)
    x, field = shared.source_batch(network), given_[name]
    absent = Field(field.values, field.lengths, present=torch.zeros(3, dtype=torch.bool))
    left = network(x, given_ | {name: absent})
    right = network(x, {key: value for key, value in given_.items() if key != name})
    torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)
    assert (left - network(x, given_)).abs().max() > 1e-6


@every
def test_padding_of_a_sequence_changes_nothing(kind):
    space = (6, 6)
    network, given_ = build(kind, space, shared.specs(space)), shared.fields(space)
    x, title = shared.source_batch(network), given_["title"]
    noisy = torch.where(title.mask(), title.values, (title.values + 3) % 7)
    longer = Field(torch.cat([noisy, noisy], 1), title.lengths, present=title.present)
    torch.testing.assert_close(network(x, given_), network(x, given_ | {"title": longer}), rtol=1e-4, atol=1e-5)


@every
def test_a_spatial_condition_of_another_extent_is_resized(kind):
    space = (8, 8)
    network = build(kind, space, {"mask": shared.shaped((4, 4), 1)})
    x, small = shared.source_batch(network), torch.rand(3, 1, 4, 4)
    out = network(x, {"mask": Field(small)})
    assert out.shape == x.shape
    assert (out - network(x, {"mask": Field(small.flip(-1))})).abs().max() > 1e-6


@every
@SLOWLY
@given(space=shared.SPACES)
def test_a_batch_equals_its_items_one_by_one(kind, space):
    network = build(kind, space, shared.specs(space)).eval()
    x, given_, time = shared.source_batch(network), shared.fields(space), torch.tensor([0.1, 0.6, 0.9])
    rows = [slice(row, row + 1) for row in range(3)]
    with torch.no_grad():
        alone = [network(x[r], {k: f.select(r) for k, f in given_.items()}, time=time[r]) for r in rows]
        torch.testing.assert_close(network(x, given_, time=time), torch.cat(alone), rtol=1e-4, atol=1e-4)


@every
def test_time_changes_the_output_and_its_absence_is_time_zero(kind):
    network = build(kind, (8, 8))
    x = shared.source_batch(network)
    start, end = torch.zeros(3), torch.tensor([0.0, 1e-3, 1.0])
    change = (network(x, time=end) - network(x, time=start)).flatten(1).abs().amax(1)
    assert change[0] == 0
    assert (change[1:] > 1e-5).all()
    assert torch.equal(network(x), network(x, time=start))


@every
def test_it_overfits_a_tiny_denoising_problem(kind):
    first, last = shared.overfit(build(kind, (5, 6), perturbed=False), steps=100)
    assert last < 0.3 * first


@every
def test_autocast_leaves_the_output_in_float32(kind):
    network = build(kind, (9, 8))
    x = shared.source_batch(network)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = network(x, time=torch.rand(3))
        out.sum().backward()
    assert out.dtype is torch.float32
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


@every
def test_ports_that_it_cannot_serve_are_refused(kind):
    image = shared.shaped((8, 8))
    for source, target, cure in [
        (vector_spec(3), vector_spec(3), "mlp"),
        (Spec(Form.TOKENS, vocabulary=4, max_length=3), image, "transformer"),
        (image, shared.shaped((4, 4)), "convolutional"),
        (vector_spec(3), image, "convolutional"),
        (shared.shaped((2, 2, 2, 2)), shared.shaped((2, 2, 2, 2)), "transformer"),
    ]:
        with pytest.raises(Unsupported, match=cure):
            kind.preset("tiny", source, target, {})
        with pytest.raises(Unsupported, match=cure):
            kind(kind.Config(), source, target, {})
    with pytest.raises(Unsupported, match="mask"):
        build(kind, (8, 8), {"mask": shared.shaped((8,), 1)})


@every
def test_the_direct_path_adds_multiples_of_the_source_and_of_pictures_beside_it(kind):
    space = (6, 6)
    conditions = {"mask": shared.specs(space)["mask"], "seen": shared.shaped(space, 3)}
    network = build(kind, space, conditions, conditioner={"mask": shared.HOW["mask"]}, perturbed=False)
    x, seen = shared.source_batch(network), torch.randn(3, 3, *space)
    given_ = {
        "mask": shared.fields(space)["mask"],
        "seen": Field(seen, present=torch.tensor([True, True, False])),
    }
    with torch.no_grad():
        # Two channels of the source, then the first two of `seen`; `mask` has too few.
        network.direct.gains.bias.copy_(torch.tensor([0.5, -1.0, 2.0, 3.0]))
    wanted = x * torch.tensor([0.5, -1.0]).view(1, 2, 1, 1)
    wanted[:2] += (seen[:2, :2]) * torch.tensor([2.0, 3.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(network(x, given_, time=torch.rand(3)), wanted)


@every
def test_there_is_no_direct_path_where_it_is_off_or_nothing_is_alike(kind):
    assert build(kind, (6, 6), direct=False).direct is None
    assert build(kind, (6, 6), ports=(3, 2)).direct is None
