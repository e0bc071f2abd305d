import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.networks._resampling import (
    COARSEST,
    coarsest,
    from_patches,
    grow,
    patch_factors,
    patched,
    resize,
    rungs,
    shrink,
    to_patches,
)

spaces = st.lists(st.integers(1, 13), min_size=1, max_size=3).map(tuple)


@given(spaces, st.integers(1, 4))
def test_patches_are_undone_for_any_extents(space, patch):
    x = torch.randn(2, 3, *space)
    factors = patch_factors(space, patch)
    patches = to_patches(x, factors)
    assert patches.shape[2:] == patched(space, factors)
    assert torch.equal(from_patches(patches, factors, space), x)


def test_a_patch_holds_neighbouring_pixels():
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert to_patches(x, (2, 2))[0, :, 0, 0].tolist() == [0, 1, 6, 7]


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=3).map(tuple), st.integers(2, 8))
def test_every_pyramid_ends_at_its_coarsest(space, factor):
    found = rungs(space, coarsest(space, factor), factor)
    assert found is not None
    assert found[0] == space
    assert max(found[-1]) <= max(COARSEST, 1)
    assert len(set(found)) == len(found)


def test_unreachable_resolutions_are_told():
    assert rungs((12, 12), (3, 3), 2) == [(12, 12), (6, 6), (3, 3)]
    assert rungs((12, 12), (5, 5), 2) is None
    assert rungs((8, 64), (16, 16), 2) is None


@given(spaces, st.integers(2, 4))
def test_shrinking_keeps_constants_and_growing_undoes_its_shape(space, factor):
    small = coarsest(tuple(e * factor for e in space), factor)
    x = torch.ones(1, 2, *space)
    for step in rungs(space, coarsest(space, factor), factor)[1:]:
        x = shrink(x, step, factor)
        assert x.shape[2:] == step
        assert torch.allclose(x, torch.ones_like(x))
    assert grow(x, space).shape[2:] == space
    assert resize(x, small).shape[2:] == small
