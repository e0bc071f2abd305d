"""Every shipped recipe parses, names things that exist, and builds its model; nothing is fetched or trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miaobi import evaluation, families, modalities, models
from miaobi.data import catalog
from miaobi.data.plan import viewed
from miaobi.families import Counting, Family
from miaobi.modalities import Modality, Represented
from miaobi.models import Model, PartCodec
from miaobi.pretrained import is_public
from miaobi.recipe import Plugin, Recipe, plugin_name, plugin_options, shipped
from miaobi.training.stages import recipes
from miaobi.training.tuning.settings import TuneSettings, parse_space
from miaobi.training.tuning.space import check_paths
from miaobi.types import Form, Spec

RECIPES = shipped()
SPECS = {
    "text": Spec(Form.TOKENS, vocabulary=500, max_length=64),
    "chat": Spec(Form.TOKENS, vocabulary=500, max_length=64),
    "music": Spec(Form.TOKENS, vocabulary=200, max_length=64),
    "music as grid": Spec(Form.TOKENS, vocabulary=200, max_length=64, streams=4, hold=0),
    "image": Spec(Form.TENSOR, channels=1, space=(28, 28), levels=256),
    "label": Spec(Form.LABEL, vocabulary=10),
    "speech": Spec(Form.TENSOR, channels=1, space=(4096,)),
    "speech as mel": Spec(Form.TENSOR, channels=64, space=(63,)),
    "video": Spec(Form.TENSOR, channels=3, space=(8, 32, 32), levels=256),
}
every = pytest.mark.parametrize("name", RECIPES)


def modality_of(section: object) -> tuple[Modality, Spec]:
    made = modalities.create(section)  # type: ignore[arg-type]
    name = f"{made.name} as {getattr(made.config, 'tokenizer', None)}"
    return made, SPECS.get(name, SPECS[made.name])


def condition_of(section: Plugin, target: Plugin) -> Spec:
    """What a stored condition looks like; one of the target's modality, without options, shares its tokenizer."""
    spec = modality_of(section)[1]
    shared = plugin_name(section) == plugin_name(target) and not plugin_options(section)
    return replace(spec, shared=shared and spec.form is Form.TOKENS)


def target_of(recipe: Recipe, parts: dict[str, PartCodec]) -> tuple[Modality, Spec]:
    """The target's modality and a spec like that of its data."""
    wanted = recipe.data.representation
    if wanted is None:
        return modality_of(recipe.modality)
    part, dot, kind = wanted.partition(".")
    if dot:
        represented = Represented(parts[part], part, kind)
        return represented, represented.spec
    name = plugin_name(recipe.modality)
    made = modalities.create({"name": name, **plugin_options(recipe.modality), "representation": wanted})
    return made, SPECS[f"{name} as {wanted}"]


def begun_afresh(recipe: Recipe) -> tuple[str | None, Recipe]:
    """The stage that a recipe starts from, and the recipe without it; a public model's network is left to its own."""
    started = recipe.model.start
    changed: dict[str, Any] = {"start": None}
    if started is not None and is_public(started):
        started, changed = None, {"start": None, "network": {}, "prompt": None}
    return started, recipe.model_copy(update={"model": recipe.model.model_copy(update=changed)})


def runs_of(recipe: Recipe) -> Iterator[tuple[Recipe, Family, Modality]]:
    """What each stage of a recipe (or the recipe itself) would train, on data like its own, from where it starts."""
    stages = recipes(recipe) or {"": recipe}
    done: dict[str, PartCodec] = {}
    before: dict[str, Family] = {}
    referred = {reference for one in stages.values() for reference in one.model.parts.values()}
    for name, one in stages.items():
        parts = {key: done[reference.removeprefix("stage:")] for key, reference in one.model.parts.items()}
        assert {reference.removeprefix("stage:") for reference in one.supply.values()} <= set(before)
        modality, target = target_of(one, parts)
        conditions = {
            key: viewed(modality, said, parts, key).view.spec(replace(target, levels=0))
            if said.view
            else condition_of(said.modality, one.modality)
            for key, said in one.data.condition.items()
        }
        started, one = begun_afresh(one)
        family = models.build(one, target, conditions, parts)
        if started is not None:
            own, given = family.state_dict(), family.weights_from(before[started.removeprefix("stage:")])
            fitting = {key: value for key, value in given.items() if key in own and own[key].shape == value.shape}
            assert len(fitting) > 1
            family.load_state_dict(fitting, strict=False)
        before[name] = family.shipped()
        if f"stage:{name}" in referred:
            if modality.name == "text":
                modality.fit(["some words"])
            done[name] = PartCodec(Model(family.eval(), modality))
        yield one, family, modality


def test_there_are_recipes_for_every_modality() -> None:
    assert {"classic", "demo", "image", "music", "speech", "text", "video"} <= {
        name.partition("/")[0] for name in RECIPES
    }


@every
def test_it_says_what_it_shows(name: str) -> None:
    note = Recipe.load(RECIPES[name]).note or ""
    assert 30 < len(note.split("\n\n")[0].replace("\n", " ").strip()) < 160


@every
def test_it_builds_its_model_and_can_be_scored(name: str) -> None:
    for recipe, family, modality in runs_of(Recipe.load(RECIPES[name])):
        assert isinstance(family, families.find(recipe.model.family))
        assert isinstance(family, Counting) or sum(parameter.numel() for parameter in family.parameters()) > 1000
        families.find(recipe.model.family).Controls.parse(recipe.evaluate.control, "evaluate.control")
        figures = [family.metric(family.target.form), *recipe.evaluate.metrics]
        evaluation.check(figures, family, modality, "pixels" if modality.name == "image" else None)
        modality.check_augment(recipe.data.augment)


@every
def test_its_data_has_its_columns(name: str) -> None:
    recipe = Recipe.load(RECIPES[name])
    kind, _, source = recipe.data.source.partition(":")
    assert kind in ("catalog", "hub"), "a recipe runs as it is, so its data is fetched by name"
    if kind == "catalog":
        data = catalog.find(source)
        held = {**data.conditions, data.content: data.modality}
        # What a column spells may as well be a class.
        column = plugin_name(held[recipe.data.content or data.content])
        assert plugin_name(recipe.modality) in ({"text", "label"} if column == "text" else {column})
        columns = {one.column or key for key, one in recipe.data.condition.items() if one.view is None}
        assert columns | {recipe.data.content or data.content} <= {*data.conditions, data.content}


@every
def test_its_search_is_one(name: str) -> None:
    recipe = Recipe.load(RECIPES[name])
    space = parse_space(TuneSettings.parse(recipe.tune, "recipe.tune").space)
    check_paths(recipe.model_copy(update={"tune": {}}), space)
    assert space.keys() == recipe.tune.get("space", {}).keys()


@every
def test_it_writes_and_reads_the_same(name: str, tmp_path: Path) -> None:
    recipe = Recipe.load(RECIPES[name])
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml(), encoding="utf-8")
    assert Recipe.load(tmp_path) == recipe


def test_a_recipe_is_found_by_name_and_by_path_from_anywhere() -> None:
    named = Recipe.load("image/digits-gan")
    assert named == Recipe.load("recipes/image/digits-gan.yaml") == Recipe.load(RECIPES["image/digits-gan"])


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mlp-gan", {"generator": [100, 128, 256, 784], "discriminator": [784, 128, 256, 1]}),
        ("mlp-gan-wide", {"generator": [100, 256, 512, 784], "discriminator": [784, 512, 256, 1]}),
        ("mlp-gan-clipped", {"generator": [100, 128, 128, 784], "discriminator": [784, 128, 128, 1]}),
        ("mlp-vae-2d", {"encoder": [784, 512, 4], "decoder": [2, 512, 784]}),
    ],
)
def test_the_classics_have_the_textbooks_layers(name: str, wanted: dict[str, list[int]]) -> None:
    from torch import nn

    family = models.build(Recipe.load(f"classic/{name}"), SPECS["image"], {})
    for role, widths in wanted.items():
        layers = [module for module in getattr(family, role).modules() if isinstance(module, nn.Linear)]
        assert [layers[0].in_features, *(layer.out_features for layer in layers)] == widths
