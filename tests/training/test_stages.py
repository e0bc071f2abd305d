import json
import shutil
from pathlib import Path

import pytest

from miaobi.errors import InvalidRecipe, RunFolderError, SaveFailed, UnknownName
from miaobi.recipe import Recipe, shipped
from miaobi.training import opening, stages
from miaobi.training.planning import Estimate
from miaobi.training.result import Result
from miaobi.training.run_folder import RunFolder

BASE = {
    "modality": "image",
    "data": {"source": "catalog:digits"},
    "model": {"family": "vae"},
    "train": {"steps": 10, "batch_size": 8},
    "stages": {
        "codes": {"model": {"options": {"latent": 4}}},
        "prior": {"model": {"family": "gan", "parts": {"codes": "stage:codes"}}, "train": {"steps": 5}},
    },
}


def test_a_stage_replaces_settings_and_finds_earlier_stages(tmp_path):
    recipe = Recipe.load(BASE)
    found = opening.within(stages.recipes(recipe)["prior"], tmp_path / "stages")
    assert (found.model.family, found.train.steps, found.train.batch_size, found.stages) == ("gan", 5, 8, {})
    assert found.model.parts == {"codes": f"run:{tmp_path / 'stages' / 'codes'}"}


def of(section, **base):
    """The recipe of the one stage."""
    return stages.recipes(Recipe.load({**BASE, **base, "stages": {"only": section}}))["only"]


def told(recipe):
    """What a delivered model says of itself."""
    return {
        "miaobi": "0.1.0",
        "recipe": recipe.to_json(),
        "data": {"source": "s", "fingerprint": "f", "licence": None, "items": {"train": 1}},
        "parameters": 1,
        "steps": recipe.train.steps,
        "step": recipe.train.steps,
        "weights": "raw",
        "items": 1,
        "seconds": 1.0,
        "memory": 1,
        "best": None,
        "stopped": None,
        "rollbacks": 0,
    }


def delivered_to(run):
    """The stage whose model is in a folder."""
    return json.loads((run / "model" / "model.json").read_text())["name"]


def delivered(recipe, place):
    """A training that leaves a model."""
    (place / "model").mkdir(parents=True, exist_ok=True)
    (place / "model" / "model.json").write_text(json.dumps({"info": told(recipe), "name": place.name}))
    (place / "model" / "MODEL_CARD.md").write_text(place.name)
    return Result(place, recipe.train.steps, None, place / "model", None)


def test_a_stage_keeps_the_name_of_another_in_its_own_recipe_and_nowhere_else():
    found = stages.recipes(Recipe.load({**BASE, "note": "stage: two", "expected": {"a": "stage:b"}}))["prior"]
    assert found.model.parts == {"codes": "stage:codes"}
    assert (found.note, found.expected) == ("stage: two", {"a": "stage:b"})
    assert opening.beside(found, Path("r/stages/prior")).model.parts == {"codes": f"run:{Path.cwd()}/r/stages/codes"}
    with pytest.raises(InvalidRecipe, match="recipe of stages only"):
        opening.beside(found, Path("runs/prior"))


def test_stages_run_in_order_and_the_last_model_is_the_runs(tmp_path):
    ran = []

    def train(recipe, place):
        ran.append((recipe.model.family, place.name))
        return delivered(recipe, place)

    result = stages.run(Recipe.load(BASE), RunFolder(tmp_path / "r"), train)
    assert ran == [("vae", "codes"), ("gan", "prior")]
    assert (result.run, result.steps) == (tmp_path / "r", 5)
    assert delivered_to(tmp_path / "r") == "prior"
    assert {path.name for path in (tmp_path / "r").iterdir()} == {
        "recipe.yaml",
        "lineage.json",
        "report.html",
        "model",
        "stages",
    }


def test_resuming_keeps_when_the_run_began_and_what_it_was(tmp_path):
    folder = RunFolder(tmp_path / "r")
    stages.run(Recipe.load(BASE), folder, delivered)
    lineage = json.loads(folder.lineage.read_text())
    assert lineage["stages"] == list(lineage["result"]) == ["codes", "prior"]
    folder.lineage.write_text(json.dumps({**lineage, "begun": "long ago"}))
    with pytest.raises(RunFolderError, match="already used"):
        stages.run(Recipe.load(BASE), folder, delivered)
    stages.run(Recipe.load(BASE), folder, delivered, resume=True)
    assert json.loads(folder.lineage.read_text())["begun"] == "long ago"


def test_the_page_of_a_run_leads_to_its_stages(tmp_path):
    stages.run(Recipe.load(BASE), RunFolder(tmp_path), delivered)
    text = (tmp_path / "report.html").read_text()
    assert '<a href="stages/codes/report.html">codes</a>: vae, 10 steps' in text
    assert '<a href="stages/prior/report.html">prior</a>: gan, 5 steps' in text


def test_a_copy_that_fails_leaves_the_old_model(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    stages.run(Recipe.load(BASE), folder, delivered)
    rename = Path.rename

    def refuse(path, target):
        if Path(target) == folder.model and path.name == "fresh":
            raise OSError("no space")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(SaveFailed, match="no space"):
        stages.run(Recipe.load(BASE), folder, delivered, resume=True)
    assert delivered_to(folder.root) == "prior"
    assert not list(tmp_path.glob(".model-*"))


def test_a_model_is_somewhere_at_every_moment_of_a_copy(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    stages.run(Recipe.load(BASE), folder, delivered)
    remove = shutil.rmtree

    def look(path, **options):
        assert (folder.model / "model.json").exists(), "a crash here would leave no model"
        remove(path, **options)

    monkeypatch.setattr(shutil, "rmtree", look)
    stages.run(Recipe.load(BASE), folder, delivered, resume=True)


@pytest.mark.parametrize(
    ("section", "where", "wanted"),
    [
        ({"train": {"ema": None, "clip": None}}, lambda r: (r.train.ema, r.train.clip), (None, None)),
        ({"train": {"batch_size": None}}, lambda r: r.train.batch_size, 32),
        ({"train": None}, lambda r: r.train.batch_size, 32),
        ({"data": {"condition": {"x": None}}}, lambda r: r.data.condition, {}),
        ({"model": {"parts": {"a": None}}}, lambda r: r.model.parts, {}),
        ({"supply": {"x": None}}, lambda r: r.supply, {}),
        ({"model": {"options": {"latent": None}}}, lambda r: r.model.options, {}),
        ({"model": {"network": {"name": "mlp", "widths": None}}}, lambda r: r.model.network, {"name": "mlp"}),
        ({"evaluate": {"control": {"a": {"b": None}}}}, lambda r: r.evaluate.control, {"a": {}}),
    ],
)
def test_a_null_is_a_value_where_the_schema_has_it_and_takes_away_elsewhere(section, where, wanted):
    assert where(of(section)) == wanted


def test_a_null_takes_away_what_the_base_has_at_any_depth():
    base = {"evaluate": {"control": {"a": {"b": 1, "c": 2}}}, "train": {"ema": None, "steps": 3}}
    found = of({"evaluate": {"control": {"a": {"b": None}}}}, **base)
    assert found.evaluate.control == {"a": {"c": 2}}
    assert found.train.ema is None


def test_a_bare_stage_is_the_recipe_itself():
    assert of(None).train.steps == 10


@pytest.mark.parametrize(
    ("network", "change", "wanted"),
    [
        ({"name": "mlp", "widths": [8]}, {"name": "convolutional"}, {"name": "convolutional"}),
        ({"name": "mlp", "widths": [8]}, {"name": "mlp", "a": 1}, {"name": "mlp", "widths": [8], "a": 1}),
        ({"name": "mlp", "widths": [8]}, {"widths": [4]}, {"name": "mlp", "widths": [4]}),
        (
            {"encoder": {"name": "mlp", "widths": [8]}, "decoder": {"name": "mlp", "widths": [8]}},
            {"encoder": {"name": "convolutional"}},
            {"encoder": {"name": "convolutional"}, "decoder": {"name": "mlp", "widths": [8]}},
        ),
        ({"encoder": "mlp"}, {"encoder": {"widths": [8]}}, {"encoder": {"name": "mlp", "widths": [8]}}),
        (
            {"name": "mlp", "conditioner": {"name": {"depth": 0}, "label": {"depth": 1}}},
            {"conditioner": {"name": {"depth": 2}}},
            {"name": "mlp", "conditioner": {"name": {"depth": 2}, "label": {"depth": 1}}},
        ),
    ],
)
def test_another_network_takes_no_options_of_the_old_one(network, change, wanted):
    assert of({"model": {"network": change}}, model={"family": "vae", "network": network}).model.network == wanted


def test_another_view_takes_no_options_of_the_old_one():
    data = {**BASE["data"], "condition": {"seen": {"view": {"name": "downscale", "factor": 2}}}}
    found = of({"data": {"condition": {"seen": {"view": {"name": "mask"}}}}}, data=data)
    assert found.data.condition["seen"].view == {"name": "mask"}


def test_a_supply_for_a_condition_called_name_does_not_take_the_others_away():
    supply, conditions = {"name": "run:a", "label": "run:b"}, {"name": "text", "label": "label"}
    found = of({"supply": {"name": "run:c"}}, data={**BASE["data"], "condition": conditions}, supply=supply)
    assert found.supply == {"name": "run:c", "label": "run:b"}


@pytest.mark.parametrize(
    ("section", "error", "match"),
    [
        ({"stages": {"deep": {}}}, InvalidRecipe, "stages of its own"),
        ({"model": {"start": "stage:nowhere"}}, InvalidRecipe, "refers to no stage.*nowhere"),
        ({"model": {"start": "stage:later"}}, InvalidRecipe, "wrong refers to a later one"),
        ({"supply": {"x": "stage:wrong"}}, InvalidRecipe, "wrong refers to a later one"),
        ({"model": None}, InvalidRecipe, r"recipe\.stages\.wrong\.model"),
        ({"model": "diffusion"}, InvalidRecipe, r"recipe\.stages\.wrong\.model"),
        ({"train": {"stpes": None}}, InvalidRecipe, "did you mean steps"),
        ({"model": {"family": "diffusin"}}, UnknownName, "diffusion"),
        ({"model": {"options": {"laten": 2}}}, InvalidRecipe, "latent"),
        ({"model": {"network": {"name": "unett"}}}, UnknownName, "unet"),
        ({"model": {"network": {"encoder": {"name": "unett"}}}}, UnknownName, "unet"),
        ({"model": {"network": {"encoder": "unett"}}}, UnknownName, "unet"),
        ({"data": {"condition": {"seen": {"view": "downscal"}}}}, UnknownName, "downscale"),
        ({"data": {"condition": {"seen": {"modality": "lable"}}}}, UnknownName, "label"),
        ({"data": {"representation": "codec.latents"}}, UnknownName, r"under model\.parts"),
        ({"evaluate": {"metrics": ["kernel_distanc"]}}, UnknownName, "kernel_distance"),
        ({"supply": {"x": "run:a"}}, InvalidRecipe, "supply names no condition"),
    ],
)
def test_stages_that_cannot_be_are_refused_before_any_is_trained(tmp_path, section, error, match):
    ran = []
    recipe = Recipe.load({**BASE, "stages": {"codes": {}, "wrong": section, "later": {}}})
    with pytest.raises(error, match=match):
        stages.run(recipe, RunFolder(tmp_path / "r"), lambda part, place: ran.append(place))
    assert not ran
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", [name for name in shipped() if Recipe.load(name).stages])
def test_every_shipped_recipe_of_stages_is_whole(name):
    assert stages.recipes(Recipe.load(name))


def test_stages_are_estimated_as_far_as_those_that_they_need_are_trained(tmp_path):
    seen = []

    def estimate(recipe):
        seen.append(recipe)
        return Estimate(1, 1, 1, 1, 1.0, 1.0, 1, 1.0, 1, "float32", False)

    recipe = Recipe.load(BASE)
    found = stages.estimates(recipe, None, estimate)
    assert list(found.stages) == ["codes"]
    assert found.waiting == {"prior": ["codes"]}
    assert "prior: cannot be estimated before codes is trained" in str(found)
    delivered(recipe, tmp_path / "stages" / "codes")
    found = stages.estimates(recipe, tmp_path, estimate)
    assert (list(found.stages), found.waiting) == (["codes", "prior"], {})
    assert seen[-1].model.parts == {"codes": f"run:{tmp_path}/stages/codes"}
