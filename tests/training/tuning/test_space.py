import json

import pytest

from miaobi import families
from miaobi.errors import DataError, InvalidRecipe, RequestError, UnknownName, Unsupported
from miaobi.recipe import Recipe
from miaobi.training.assembly import Assembly
from miaobi.training.opening import open_data
from miaobi.training.processes import Processes
from miaobi.training.tuning.design import Design, design
from miaobi.training.tuning.settings import Choices, Range, parse_space
from miaobi.training.tuning.space import changed, check_paths, derive, own_values
from miaobi.types import Form
from tests.support.worlds import recipe as world


def silent(text):
    pass


def vae(folder, **tune):
    return Recipe.load({**world("vae", Form.TENSOR, folder, steps=4), "tune": tune})


def text(folder, network="transformer", **train):
    found = world("autoregressive", Form.TOKENS, folder, steps=4, **train)
    found["model"]["network"] = {"name": network}
    return found


@pytest.mark.parametrize(
    ("path", "values", "match"),
    [
        ("train.learning_raet", [1e-3, 1e-4], "did you mean learning_rate"),
        ("train.optimiser.weightdecay", [0, 0.1], "did you mean weight_decay"),
        ("trian.learning_rate", [1e-3, 1e-4], "did you mean train"),
        ("model.options.latnet", [2, 4], "did you mean latent"),
        ("train.learning_rate", {"low": 0.1, "high": 100.0}, "less than or equal to 10"),
        ("train.optimiser.name", ["adam", "adamm"], "adamw"),
        ("model.network.name", ["mlp", "mpl"], "did you mean mlp"),
        ("train.steps", [1, 2], "budget"),
        ("train.tracking", [[], ["wandb"]], "budget"),
        ("data.source", ["catalog:digits", "catalog:emoji"], "would not compare"),
        ("data.split.validation", [0.1, 0.2], "would not compare"),
        ("evaluate.samples", [10, 20], "would not compare"),
        ("model.family", ["vae", "gan"], "would not compare"),
        ("seed", [1, 2], "would not compare"),
        ("model.options.importance_samples", [1, 64], "changes how trials are measured"),
        ("model.options", [{"importance_samples": 1}, {"importance_samples": 64}], "changes how trials are measured"),
    ],
)
def test_a_path_that_is_not_there_or_may_not_be_searched_is_refused_before_data_is_read(path, values, match, tmp_path):
    with pytest.raises(RequestError, match=match):
        check_paths(vae(tmp_path), parse_space({path: values}))


def test_what_only_evaluation_uses_is_an_option_of_the_family():
    found = {name: families.find(name) for name in families.names()}
    assert found["diffusion"].evaluation_only == {"likelihood_steps", "likelihood_probes"}
    for name, family in found.items():
        assert family.evaluation_only <= set(family.Config.model_fields), name
        declared = {option for option in family.Config.model_fields if option.startswith(("importance", "likelihood_"))}
        assert declared <= family.evaluation_only, name


def test_nothing_is_read_before_the_paths_are_checked(tmp_path):
    recipe = vae(tmp_path, space={"train.learning_raet": [1, 2]})
    gone = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": "catalog:nowhere"})})
    with pytest.raises(InvalidRecipe, match="learning_raet"):
        design(gone, silent)


@pytest.mark.parametrize(
    ("space", "match"),
    [
        ({"model.network.widht": [8, 16]}, "widht"),
        ({"model.network.head.width": [8, 16]}, "."),
        ({"model.options.latent": [4, "wide"]}, "latent"),
        ({"data.augment.flop": [True, False]}, "flop"),
        ({"train.phase_learning_rate.critic": [1e-3, 1e-4]}, "critic"),
    ],
)
def test_what_only_the_model_knows_is_refused_before_any_trial(space, match, tmp_path):
    with pytest.raises(RequestError, match=match):
        design(vae(tmp_path, space=space), silent)


def test_stages_counts_and_nothing_held_out_are_refused(tmp_path):
    base = world("vae", Form.TENSOR, tmp_path, steps=4)
    with pytest.raises(Unsupported, match="stages"):
        design(Recipe.load({**base, "stages": {"one": {}}}), silent)
    base["data"]["split"] = {"validation": 0.0, "test": 0.1}
    with pytest.raises(DataError, match="held out"):
        design(Recipe.load(base), silent)
    with pytest.raises(Unsupported, match="it counts"):
        design(Recipe.load(world("ngram", Form.TOKENS, tmp_path / "n")), silent)


def derived(sections):
    recipe = Recipe.load(sections)
    assembly = Assembly(recipe, open_data(recipe), Processes(alone=True))
    assembly.close()
    return derive(recipe, assembly.family), recipe, assembly.family


def test_a_space_is_derived_around_the_recipe(tmp_path):
    optimiser = {"name": "muon", "other_learning_rate": 5e-3, "weight_decay": 0.02}
    space, recipe, family = derived({**text(tmp_path, optimiser=optimiser, learning_rate=0.5), "tune": {"minutes": 1}})
    assert space["train.learning_rate"] == Range(low=0.05, high=5.0, log=True)
    assert space["train.optimiser.other_learning_rate"].log
    assert space["train.optimiser.weight_decay"] == Choices((0.02, 0.0, 0.01, 0.1))
    assert space["model.network.dropout"] == Range(low=0.0, high=0.3)
    assert space["train.batch_size"] == Choices((8, 16, 32))
    assert own_values(recipe, family, space)["model.network.dropout"] == 0.0
    check_paths(recipe, space)
    assert "train.batch_size" not in derived(text(tmp_path))[0], "more items among equal steps are no better setting"


def test_own_values_are_also_those_that_the_model_chose(tmp_path):
    _, recipe, family = derived(text(tmp_path))
    paths = ["model.network.width", "model.network.depth", "model.options.condition_drop", "train.schedule.final"]
    own = own_values(recipe, family, dict.fromkeys([*paths, "data.augment.crop"]))
    assert own["model.network.width"] == family.network.config.width
    assert own["model.options.condition_drop"] == family.config.condition_drop
    assert (own["train.schedule.final"], own["data.augment.crop"]) == (0.0, None)


def test_a_design_measures_once_widens_and_is_read_back(tmp_path):
    space = {"model.options.latent": [2, 3], "train.learning_rate": {"low": 1e-3, "high": 1e-2, "log": True}}
    recipe = vae(tmp_path, space=space, evaluations=3, steps=7)
    found = design(recipe, silent)
    assert found.own["model.options.latent"] in found.space["model.options.latent"].values
    assert (found.shared["steps"], found.shared["evaluate_every"], found.shared["threads"]) == (7, 3, 1)
    assert (found.metric, found.figure, found.lower) == ("likelihood", "bits_per_dimension", True)
    assert Design.from_json(json.loads(json.dumps(found.to_json())), "study.json") == found
    assert found.trial({}).train.steps == 7
    timed = design(vae(tmp_path, space=space, minutes=0.1), silent).trial({"model.options.latent": 2})
    assert (timed.train.steps, timed.train.minutes, timed.model.options["latent"]) == (None, 0.1, 2)


def test_a_change_of_a_section_that_is_a_name_keeps_the_name(tmp_path):
    recipe = Recipe.load({**text(tmp_path), "modality": {"name": "text", "max_length": 80}})
    assert changed(recipe, {"model.network.depth": 3}).model.network == {"name": "transformer", "depth": 3}


def test_an_unknown_section_is_told_the_nearest():
    with pytest.raises(UnknownName) as caught:
        check_paths(
            Recipe.load({"modality": "image", "data": {"source": "x"}, "model": {"family": "vae"}}),
            parse_space({"modle.size": ["tiny", "small"]}),
        )
    assert "model" in caught.value.message
