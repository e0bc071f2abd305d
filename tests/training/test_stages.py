import pytest

from miaobi.errors import InvalidRecipe
from miaobi.recipe import Recipe
from miaobi.training import stages
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
    found = stages.stage(recipe, recipe.stages["prior"], tmp_path)
    assert (found.model.family, found.train.steps, found.train.batch_size, found.stages) == ("gan", 5, 8, {})
    assert found.model.parts == {"codes": f"run:{tmp_path / 'stages' / 'codes'}"}


def test_stages_run_in_order_and_the_last_model_is_the_runs(tmp_path):
    ran = []

    def train(recipe, place):
        ran.append((recipe.model.family, place.name))
        (place / "model").mkdir(parents=True)
        (place / "model" / "model.json").write_text(place.name)
        return Result(place, recipe.train.steps, None, place / "model", None)

    result = stages.run(Recipe.load(BASE), RunFolder(tmp_path), train)
    assert ran == [("vae", "codes"), ("gan", "prior")]
    assert (result.run, result.steps) == (tmp_path, 5)
    assert (tmp_path / "model" / "model.json").read_text() == "prior"


@pytest.mark.parametrize(
    ("section", "match"),
    [({"stages": {"deep": {}}}, "stages of its own"), ({"model": {"start": "stage:nowhere"}}, "no such stage")],
)
def test_stages_that_cannot_be_are_refused(tmp_path, section, match):
    with pytest.raises(InvalidRecipe, match=match):
        stages.stage(Recipe.load(BASE), section, tmp_path)
