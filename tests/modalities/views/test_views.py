import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.modalities import views
from miaobi.sampling.noise import noise, seeds_of
from miaobi.types import Form, Spec

SEEDS = seeds_of(0, range(64))


def picture(rows=64, space=(16, 20)):
    return noise(SEEDS[:rows], "picture", (1, *space)).clamp(-1, 1)


def test_a_coarser_copy_keeps_flat_parts_and_loses_detail():
    flat = torch.full((2, 3, 16, 16), 0.3)
    torch.testing.assert_close(views.create("downscale")(flat, SEEDS[:2]), flat)
    busy = picture()
    coarse = views.create({"name": "downscale", "factor": 4})(busy, SEEDS)
    assert coarse.var() < 0.2 * busy.var()


@given(st.sampled_from(["box", "strokes", "half", "mixed"]), st.integers(6, 30), st.integers(6, 30))
def test_holes_are_neither_nothing_nor_everything(shape, height, width):
    holes = views.create({"name": "mask", "shape": shape}).holes((height, width), SEEDS)
    assert set(holes.unique().tolist()) <= {0.0, 1.0}
    assert 0.05 < holes.mean() < 0.75
    assert holes.flatten(1).std(0).max() > 0


def test_a_masked_target_shows_what_is_left_and_where_the_hole_is():
    target = picture()
    view = views.create({"name": "mask", "shape": "box"})
    seen, holes = view(target, SEEDS), view.holes((16, 20), SEEDS)
    assert torch.equal(seen[:, 1:], 2 * holes - 1)
    assert torch.equal(seen[:, :1], target * (1 - holes))


def test_a_mask_by_hand_is_used_as_it_is():
    target, mask = picture(2), torch.zeros(2, 1, 16, 20)
    mask[:, :, 3:6] = 1
    seen = views.create("mask").given(target, mask)
    assert (seen[:, 0, 3:6] == 0).all()
    assert torch.equal(seen[:, 1:], 2 * mask - 1)
    with pytest.raises(Unsupported, match="--mask"):
        views.create("mask").given(target)


def test_blur_keeps_the_mean_and_flat_parts():
    flat = torch.full((2, 1, 16, 16), -0.4)
    view = views.create({"name": "blur", "sigma": 2})
    torch.testing.assert_close(view(flat, SEEDS[:2]), flat)
    busy = picture()
    assert view(busy, SEEDS).var() < 0.3 * busy.var()


def test_noise_has_the_level_that_it_says():
    added = views.create({"name": "noise", "level": 0.4})(torch.zeros(64, 1, 32, 32), SEEDS)
    levels = added.flatten(1).std(1)
    assert 0.18 < levels.min() < levels.max() < 0.42


def test_jpeg_loses_more_at_a_worse_quality():
    target = picture()
    errors = [
        (views.create({"name": "jpeg", "worst": q, "best": q})(target, SEEDS) - target).square().mean()
        for q in (5, 50, 95)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_frames_are_those_of_the_video():
    video = picture(4, (5, 6, 8))
    assert torch.equal(views.create("first_frame")(video, SEEDS[:4]), video[:, :, :1].expand_as(video))
    ends = views.create("ends")(video, SEEDS[:4])
    torch.testing.assert_close(ends[:, :, 0], video[:, :, 0])
    torch.testing.assert_close(ends[:, :, -1], video[:, :, -1])
    torch.testing.assert_close(ends[:, :, 2], (video[:, :, 0] + video[:, :, -1]) / 2)


def test_one_picture_is_a_first_frame_too():
    seen = views.create("first_frame").given(picture(2, (5, 6, 8)))
    assert torch.equal(seen[:, :, 0], seen[:, :, 4])


def test_an_unknown_view_or_option_is_refused_by_name():
    with pytest.raises(UnknownName, match="did you mean mask"):
        views.create("msak")
    with pytest.raises(InvalidRecipe, match="did you mean factor"):
        views.create({"name": "downscale", "facter": 3})


def test_an_embedding_needs_a_part_that_embeds():
    view = views.create({"name": "embedding", "part": "encoder"})
    with pytest.raises(UnknownName, match="part"):
        view.bind({})
    with pytest.raises(InvalidRecipe, match="no part yet"):
        view.spec(Spec(Form.TENSOR, 1, (8, 8)))
