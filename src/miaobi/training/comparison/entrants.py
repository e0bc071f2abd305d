"""Who takes part in a comparison: recipes on one and the same data, and the count-based baselines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miaobi import families
from miaobi.data import Prepared
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import Sampling
from miaobi.modalities import create
from miaobi.plugins import name_of
from miaobi.recipe import Recipe
from miaobi.training.checking import check
from miaobi.training.opening import open_data
from miaobi.types import Form

BASELINES = {Form.TOKENS: "ngram", Form.TENSOR: "gaussian"}
"""What learns by counting, by the form of the target: the floor that every comparison shows."""
_OWN = {"augment", "representation"}
"""Settings of ``data`` that are a model's own business: they change what it learns from the items, not the items."""
Given = str | Path | Mapping[str, Any] | Recipe


@dataclass(frozen=True, slots=True)
class Entrant:
    """A recipe with the name that the comparison calls it by."""

    name: str
    recipe: Recipe
    baseline: bool = False


def entrants(given: Sequence[Given]) -> list[Entrant]:
    """The recipes that were asked for, checked as far as can be before anything is read.

    Raises:
        InvalidRecipe: none, one twice, or one whose modality or data differs from the first one's.
        Unsupported: one that makes no samples, or consists of stages.
    """
    if not given:
        raise InvalidRecipe("nothing to compare", given="no recipe", cure="name one or more recipes")
    recipes = [Recipe.load(one) for one in given]
    names = _names(given, recipes)
    found: list[Entrant] = []
    for name, recipe in zip(names, recipes, strict=True):
        _check(name, recipe)
        for other in found:
            if _essence(other.recipe) == _essence(recipe):
                raise InvalidRecipe(f"{other.name} and {name} are the same recipe", cure="name it once")
        found.append(Entrant(name, recipe))
        _check_data(found[0], found[-1])
    return found


def open_all(found: Sequence[Entrant]) -> list[Prepared]:
    """The data of every entrant.

    Raises:
        InvalidRecipe: items or parts of one differ from the first one's, whatever the recipes say.
    """
    opened = [open_data(one.recipe) for one in found]
    for one, data in zip(found, opened, strict=True):
        if data.fingerprint != opened[0].fingerprint:
            raise InvalidRecipe(
                f"{one.name} is not on the data of {found[0].name}",
                given=f"fingerprints {data.fingerprint} and {opened[0].fingerprint}",
                cure="give all the same data and split",
            )
    return opened


def baselines(found: Sequence[Entrant], data: Prepared) -> list[Entrant]:
    """What learns by counting, on the same data, where no recipe does so already."""
    form = create(found[0].recipe.modality).form
    family = BASELINES.get(form)
    if family is None or any(one.recipe.model.family == family for one in found):
        return []
    first = found[0].recipe
    recipe = Recipe(
        modality=first.modality,
        data=first.data.model_copy(update={"augment": {}, "representation": None}),
        model={"family": family, "options": _options(family, data)},
        evaluate={"extractor": first.evaluate.extractor},
        supply=first.supply,
        seed=first.seed,
    )
    taken = {one.name for one in found}
    return [Entrant(next(n for n in (family, f"{family}-baseline") if n not in taken), recipe, baseline=True)]


def _options(family: str, data: Prepared) -> dict[str, Any]:
    found = families.find(family)
    try:
        found.ports(found.Config(), data.modality.shown.spec, data.specs)
    except Unsupported:
        return {"unconditional": True}
    return {}


def _names(given: Sequence[Given], recipes: Sequence[Recipe]) -> list[str]:
    """The file's or the run's name, or the family's; numbered where several have one."""
    taken: list[str] = []
    for one, recipe in zip(given, recipes, strict=True):
        name = Path(one).resolve().stem if isinstance(one, str | Path) else recipe.model.family
        number = 1
        while (free := name if number == 1 else f"{name}-{number}") in taken:
            number += 1
        taken.append(free)
    return taken


def _check(name: str, recipe: Recipe) -> None:
    if recipe.stages:
        raise Unsupported(
            f"{name} is a recipe of stages, and no budget can be divided among them",
            given=list(recipe.stages),
            cure="compare a stage's own recipe, its earlier ones trained before and named as parts",
        )
    check(recipe)
    family = families.find(recipe.model.family)
    if not issubclass(family, Sampling):
        raise Unsupported(f"{name} makes no samples to compare", given=name_of(family), cure="leave it out")


def _check_data(first: Entrant, other: Entrant) -> None:
    for section, values in _data(other.recipe).items():
        expected = _data(first.recipe)[section]
        if values != expected:
            raise InvalidRecipe(
                f"{other.name} is not on the data of {first.name}: {section} differs",
                given=values,
                allowed=str(expected),
                cure="give all the same modality and data; data.augment and data.representation may differ",
            )


def _data(recipe: Recipe) -> dict[str, Any]:
    modality = create(recipe.modality)
    data = {key: value for key, value in recipe.data.to_json().items() if key not in _OWN}
    return {"modality": {"name": modality.name, **modality.config.to_json()}} | {
        f"data.{key}": value for key, value in data.items()
    }


def _essence(recipe: Recipe) -> dict[str, Any]:
    """What a recipe trains, without what it says of itself and how long."""
    found = recipe.model_dump(mode="json", exclude={"note", "expected", "evaluate"})
    return {**found, "train": {k: v for k, v in found["train"].items() if k not in ("steps", "epochs", "minutes")}}
