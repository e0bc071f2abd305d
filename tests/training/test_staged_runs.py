"""Recipes of several stages through the one trainer: frozen parts, representations, supplied conditions, resuming."""

import functools
import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from miaobi import evaluate, load, training
from miaobi.errors import InvalidRecipe, UnknownName
from miaobi.generation import generate
from miaobi.generation.request import condition_fields
from miaobi.generation.supply import supplied
from miaobi.models import PartCodec, read_tensors
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from miaobi.training.assembly import Assembly

BASE = {
    "modality": "image",
    "data": {"source": "catalog:digits", "clean": {"limit": 200}},
    "train": {"steps": 6, "batch_size": 8, "evaluate_every": 6, "threads": 1, "precision": "float32"},
    "evaluate": {"extractor": "pixels", "samples": 20},
}
LATENT = {
    "model": {"family": "vae", "size": "tiny", "options": {"latent": 2, "spatial": 2, "importance_samples": 2}},
    "stages": {
        "codec": {},
        "prior": {
            "data": {"representation": "codec.latents", "condition": {"label": "label"}},
            "model": {"family": "diffusion", "parts": {"codec": "stage:codec"}},
        },
    },
}
CODES = {
    "model": {"family": "discrete", "size": "tiny", "options": {"factor": 2}},
    "stages": {
        "codec": {},
        "writer": {
            "data": {"representation": "codec.codes", "condition": {"label": "label"}},
            "model": {"family": "autoregressive", "parts": {"codec": "stage:codec"}},
        },
    },
}
UNCLIP = {
    "data": {**BASE["data"], "condition": {"label": "label"}},
    "model": {"family": "contrastive", "size": "tiny"},
    "stages": {
        "encoder": {},
        "prior": {
            "data": {"representation": "encoder.embeddings"},
            "model": {"family": "diffusion", "parts": {"encoder": "stage:encoder"}},
        },
        "decoder": {
            "data": {"condition": {"label": None, "embedding": {"view": {"name": "embedding", "part": "encoder"}}}},
            "model": {"family": "diffusion", "parts": {"encoder": "stage:encoder"}},
            "supply": {"embedding": "stage:prior"},
        },
    },
}
RECIPES = {"latent": LATENT, "codes": CODES, "unclip": UNCLIP}
every = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.xdist_group(f"staged {name}")) for name in RECIPES]
)


@functools.cache
def trained(name):
    folder = Path(tempfile.mkdtemp()) / "run"
    return training.train({**BASE, **RECIPES[name]}, run=folder, progress=False)


@every
def test_the_last_stages_model_makes_items_from_its_own_folder_alone(name, tmp_path):
    model = load(trained(name).model)
    made = generate(model, conditions={"label": "3"}, n=3, out=tmp_path)
    assert [one.item.shape for one in made] == [(8, 8, 1)] * 3
    again = generate(load(trained(name).run), conditions={"label": "3"}, n=3)
    assert all(np.array_equal(left.item, right.item) for left, right in zip(made, again, strict=True))


@every
def test_a_frozen_part_is_in_no_checkpoint_and_stays_as_it_was(name):
    run = trained(name).run
    stages = list(RECIPES[name]["stages"])
    first = read_tensors(run / "stages" / stages[0] / "model" / "model.safetensors")
    last = run / "stages" / stages[-1]
    weights = read_tensors(next((last / "checkpoints").glob("*/weights.safetensors")))
    own = load(last).family
    assert {key.split(".")[0] for key in weights} <= {key.split(".")[0] for key in own.state_dict()}
    part = next((last / "model" / "parts").iterdir())
    copied = read_tensors(part / "model.safetensors")
    assert first.keys() == copied.keys()
    assert all((first[key] == copied[key]).all() for key in first)


@every
def test_a_finished_stage_is_not_trained_again(name):
    run = trained(name).run
    before = {path: path.stat().st_mtime_ns for path in run.glob("stages/*/checkpoints/*")}
    training.train({**BASE, **RECIPES[name]}, run=run, resume=True, progress=False)
    assert before == {path: path.stat().st_mtime_ns for path in run.glob("stages/*/checkpoints/*")}


@pytest.mark.parametrize("name", ["latent", "codes"])
def test_scores_compare_with_the_data_and_not_with_what_the_codec_makes_of_it(name):
    scores = evaluate(trained(name).run, metrics=["kernel_distance"], part="validation")
    protocol = scores["kernel_distance"].protocol
    assert protocol["modality"]["name"] == "image"
    assert protocol["representation"]["part"] == "codec"
    plain = {**BASE, "data": {**BASE["data"], "condition": {"label": "label"}}}
    single = training.train(
        {**plain, "model": {"family": "vae", "size": "tiny"}}, run=Path(tempfile.mkdtemp()) / "run", progress=False
    )
    floor = evaluate(single.run, metrics=["kernel_distance"], part="validation")["kernel_distance"].floor
    assert scores["kernel_distance"].floor == pytest.approx(floor)


def test_a_picture_in_place_of_the_supplied_condition_makes_variations_of_it(tmp_path):
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "a.png")
    model, given = load(trained("unclip").run), {"embedding": str(tmp_path / "a.png")}
    shown = condition_fields(model, given, 2)["embedding"].values
    encoder = model.parts["encoder"]
    picture = encoder.modality.collate([encoder.modality.encode(np.full((8, 8, 1), 200, np.uint8))])
    torch.testing.assert_close(shown[:1], PartCodec(encoder).represent(picture, "embeddings"))
    assert supplied(model, given, seeds_of(0, range(2))) == {}
    made = supplied(model, {"label": "3"}, seeds_of(0, range(2)))["embedding"].values
    assert made.shape == shown.shape
    assert not torch.allclose(made[0], made[1])


def test_a_supply_for_no_condition_and_a_part_that_is_not_there_are_refused(tmp_path):
    run = trained("latent").run
    wrong = {**BASE, "model": {"family": "vae", "size": "tiny"}, "supply": {"lable": f"run:{run}"}}
    with pytest.raises(InvalidRecipe, match="supply"):
        training.train(wrong, run=tmp_path / "a", progress=False)
    missing = Recipe.load({**BASE, "model": {"family": "diffusion"}}, ["data.representation=codec.latents"])
    with pytest.raises(UnknownName, match="under model"):
        training.train(missing, run=tmp_path / "b", progress=False)


def test_the_run_says_its_stages():
    lineage = json.loads((trained("latent").run / "lineage.json").read_text())
    assert lineage["stages"] == ["codec", "prior"]
    assert lineage["result"]["prior"]["steps"] == 6
    assert "stages/codec/report.html" in (trained("latent").run / "report.html").read_text()


def test_scores_of_a_run_of_stages_are_in_its_page_its_card_and_the_last_stage():
    run = trained("latent").run
    model = load(run)
    scores = evaluate(model, metrics=["kernel_distance"], samples=10)
    training.record(run, scores, model.modality)
    for place in (run, run / "stages" / "prior"):
        assert "<h2>Scores</h2>" in (place / "report.html").read_text()
        assert "| kernel_distance |" in (place / "model" / "MODEL_CARD.md").read_text()
    assert "kernel_distance" not in (run / "stages" / "codec" / "model" / "MODEL_CARD.md").read_text()


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """A finished run in another place than where it was trained, which it knew by a relative path."""
    monkeypatch.chdir(tmp_path)
    training.train({**BASE, **LATENT}, run="here", progress=False)
    return Path("here").rename(tmp_path / "elsewhere")


def test_a_run_goes_on_after_it_was_moved_and_by_any_spelling_of_its_path(moved, monkeypatch):
    recipe = {**BASE, **LATENT}
    before = (moved / "model" / "model.safetensors").read_bytes()
    monkeypatch.chdir(moved.parent)
    for spelling in ("elsewhere", moved, "./elsewhere/../elsewhere"):
        training.train(recipe, run=spelling, resume=True, progress=False)
    monkeypatch.chdir(moved)
    training.train(".", resume=True, progress=False)
    assert (moved / "model" / "model.safetensors").read_bytes() == before


def test_a_stage_goes_on_alone_from_any_folder(moved, monkeypatch):
    for place in (moved.parent, moved / "stages" / "prior"):
        monkeypatch.chdir(place)
        prior = Path(os.path.relpath(moved / "stages" / "prior", place))
        shutil.rmtree(moved / "stages" / "prior" / "model")
        assert training.train(prior, resume=True, progress=False).steps == 6
        assert load(prior).parts.keys() == {"codec"}


def test_the_recipes_of_stages_name_no_folder():
    for path in trained("unclip").run.glob("stages/*/recipe.yaml"):
        assert "run:" not in path.read_text()
    assert "stage:encoder" in (trained("unclip").run / "stages" / "prior" / "recipe.yaml").read_text()


def test_the_advice_after_an_interrupt_in_a_stage_finishes_the_whole_run(tmp_path, monkeypatch, capsys):
    take = Assembly.step

    def step(self, state, steps):
        if state.step == 2 and self.recipe.model.family == "vae":
            os.kill(os.getpid(), signal.SIGINT)
        return take(self, state, steps)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(Assembly, "step", step)
        with pytest.raises(KeyboardInterrupt):
            training.train({**BASE, **LATENT}, run=run)
    assert f"miaobi train {run} --resume\n" in capsys.readouterr().err
    training.train(run, changes=["stages.codec.train={sample_every: 2}"], resume=True, progress=False)
    assert load(run).parts.keys() == {"codec"}
    wanted = read_tensors(trained("latent").run / "model" / "model.safetensors")
    found = read_tensors(run / "model" / "model.safetensors")
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)


def test_an_estimate_says_which_stages_it_could_not_make():
    found = training.estimate({**BASE, **LATENT})
    assert (list(found.stages), found.waiting) == (["codec"], {"prior": ["codec"]})
    whole = training.estimate(trained("latent").run)
    assert (list(whole.stages), whole.waiting) == (["codec", "prior"], {})
    prior = training.estimate(trained("latent").run / "stages" / "prior")
    assert prior.parameters == whole.stages["prior"].parameters
