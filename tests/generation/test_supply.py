"""A condition that another model makes arrives as the condition's own modality would have given it."""

import tempfile
from pathlib import Path

import pytest
import torch

from miaobi import load, training
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.generation import generate
from miaobi.generation.supply import asked_of, supplied
from miaobi.sampling.noise import seeds_of

BASE = {
    "modality": "image",
    "data": {"source": "catalog:digits", "clean": {"limit": 200}},
    "train": {"steps": 4, "batch_size": 8, "evaluate_every": 4, "threads": 1, "precision": "float32"},
    "evaluate": {"extractor": "pixels", "samples": 20},
}
TINY = {"family": "vae", "size": "tiny", "options": {"latent": 4, "importance_samples": 2}}


@pytest.fixture(scope="module")
def base():
    data = BASE["data"] | {"condition": {"label": "label"}}
    run = Path(tempfile.mkdtemp()) / "base"
    return training.train({**BASE, "data": data, "model": TINY}, run=run, progress=False).run


@pytest.fixture(scope="module")
def cascade(base):
    data = BASE["data"] | {"condition": {"low": {"view": "downscale"}}}
    recipe = {**BASE, "data": data, "model": {"family": "diffusion", "size": "tiny"}, "supply": {"low": f"run:{base}"}}
    return load(training.train(recipe, run=base.parent / "cascade", progress=False).run)


def test_a_picture_for_a_view_comes_in_the_views_own_range(cascade, base):
    made = supplied(cascade, {"label": "3"}, seeds_of(0, range(3)))["low"].values
    assert made.shape == (3, 1, 8, 8)
    assert made.dtype == torch.float32
    assert made.min() >= -1
    assert made.max() <= 1
    pictures = generate(base, conditions={"label": "3"}, n=1)
    assert pictures[0].item.shape == (8, 8, 1)


def test_the_suppliers_conditions_can_be_asked_for(cascade):
    assert set(asked_of(cascade)) == {"low", "label"}
    assert len(generate(cascade, conditions={"label": "3"}, n=2)) == 2


def test_what_cannot_supply_is_refused_before_training(base, tmp_path):
    part = {**BASE, "model": {"family": "contrastive", "size": "tiny", "options": {"width": 8}}}
    part["data"] = BASE["data"] | {"condition": {"label": "label"}}
    encoder = training.train(part, run=tmp_path / "encoder", progress=False).run
    data = BASE["data"] | {"condition": {"low": {"view": "downscale"}}}
    wanted = {**BASE, "data": data, "model": {"family": "diffusion", "size": "tiny"}}
    with pytest.raises(Unsupported, match="supplying low"):
        training.train({**wanted, "supply": {"low": f"run:{encoder}"}}, run=tmp_path / "a", progress=False)
    with pytest.raises(InvalidRecipe, match="supply"):
        training.train({**wanted, "supply": {"high": f"run:{base}"}}, run=tmp_path / "b", progress=False)


def test_a_part_of_other_options_is_refused(base, tmp_path):
    recipe = {
        **BASE,
        "modality": {"name": "image", "size": 16},
        "data": BASE["data"] | {"representation": "codec.latents"},
        "model": {"family": "diffusion", "size": "tiny", "parts": {"codec": f"run:{base}"}},
    }
    with pytest.raises(InvalidRecipe, match="other options"):
        training.train(recipe, run=tmp_path / "c", progress=False)
