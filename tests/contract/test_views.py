"""What is true of every view: the shape that it promises, and one item's view does not depend on another's."""

import pytest
import torch

from miaobi import modalities
from miaobi.errors import Unsupported
from miaobi.modalities import views
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form, Spec
from tests.support.codecs import Averages

SPACES = {1: (24,), 2: (8, 12), 3: (5, 6, 8)}
TOKENS = "tokens"


def bound(name):
    if name != "embedding":
        return views.create(name)
    modality = modalities.create({"name": "image", "size": [8, 12], "mode": "L"})
    modality.fit([modality.read(torch.zeros(8, 12, 1, dtype=torch.uint8).numpy())])
    return views.create({"name": name, "part": "encoder"}).bind({"encoder": Averages(modality)})


def cases():
    return [(name, dims) for name in views.names() for dims in kinds(bound(name)) if name != "embedding" or dims == 2]


def kinds(view):
    """What it can be taken of."""
    return [TOKENS] if view.form is Form.TOKENS else sorted(view.dims)


def target(dims, rows=4):
    if dims is TOKENS:
        spec = Spec(Form.TOKENS, vocabulary=30, max_length=16, streams=4, hold=0)
        return torch.arange(rows * 16).reshape(rows, 16) % 30, spec
    channels = 1
    values = (
        torch.linspace(-1, 1, rows * channels * torch.Size(SPACES[dims]).numel()).sin().sort(descending=True).values
    )
    return values.reshape(rows, channels, *SPACES[dims]), Spec(Form.TENSOR, channels, SPACES[dims], levels=256)


@pytest.mark.parametrize(("name", "dims"), cases())
def test_a_view_looks_as_it_says(name, dims):
    values, spec = target(dims)
    view = bound(name)
    promised = view.spec(spec)
    seen = view(values, seeds_of(0, range(len(values))))
    assert promised.form is view.form
    if dims is TOKENS:
        assert (seen.shape, seen.dtype) == (values.shape, torch.int64)
        assert 0 <= seen.min() <= seen.max() < promised.vocabulary
        # A sampler takes a partial view's tokens, less one, as the target's own.
        assert not promised.partial or torch.equal(seen[seen > 0] - 1, values[seen > 0])
        return
    assert seen.shape == (len(values), promised.channels, *promised.space)
    assert seen.dtype == torch.float32
    assert torch.isfinite(seen).all()
    if promised.space:
        assert promised.space == spec.space


@pytest.mark.parametrize(("name", "dims"), cases())
def test_a_batch_equals_its_items_one_by_one(name, dims):
    values, _ = target(dims)
    view, seeds = bound(name), seeds_of(3, range(len(values)))
    together = view(values, seeds)
    alone = torch.cat([view(values[i : i + 1], seeds[i : i + 1]) for i in range(len(values))])
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(("name", "dims"), cases())
def test_the_target_itself_is_left_alone(name, dims):
    values, _ = target(dims)
    before = values.clone()
    bound(name)(values, seeds_of(0, range(len(values))))
    assert torch.equal(values, before)


@pytest.mark.parametrize(
    "name", [name for name in views.names() if name != "embedding" and bound(name).form is Form.TENSOR]
)
def test_a_target_that_has_no_such_view_is_refused(name):
    with pytest.raises(Unsupported, match="space axes"):
        bound(name).spec(Spec(Form.TOKENS, vocabulary=3, max_length=4))
    for dims in {1, 2, 3} - bound(name).dims:
        with pytest.raises(Unsupported, match="space axes"):
            bound(name).spec(target(dims)[1])


@pytest.mark.parametrize("name", sorted(set(views.names()) - {"mask"}))
def test_only_a_mask_takes_a_mask(name):
    dims = kinds(bound(name))[-1] if name != "embedding" else 2
    values, _ = target(dims)
    with pytest.raises(Unsupported, match="mask"):
        bound(name).given(values, torch.ones(len(values), 1, *SPACES.get(dims, ())))
