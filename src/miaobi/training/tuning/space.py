"""Which settings are searched: checked against the recipe and its model before any trial, or derived from them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miaobi import families
from miaobi.data import Prepared
from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.families import Family
from miaobi.networks import Network
from miaobi.recipe import Recipe
from miaobi.training.assembly import Assembly
from miaobi.training.checking import check as check_names
from miaobi.training.opening import beside
from miaobi.training.processes import Processes
from miaobi.training.tuning.settings import Choices, Range, Space

SEARCHED = ("train", "model.options", "model.network", "model.size", "data.augment")
"""What may be searched: none of it changes what trials are measured by."""
FIXED = ("steps", "epochs", "minutes", "evaluate_every", "checkpoint_every", "sample_every", "threads", "tracking")
"""Settings of ``train`` that are the budget, or nothing that a trial could be better by."""

_WIDER = 10
"""A derived learning rate is searched up to this many times above and below the recipe's."""


def changed(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with other settings; keys are those of ``--set``.

    Raises:
        InvalidRecipe: unknown keys or wrong values.
    """
    # JSON is YAML, and says a float so that it is read back to the last bit.
    return Recipe.load(recipe, [f"{path}={json.dumps(value)}" for path, value in values.items()])


def check_paths(recipe: Recipe, space: Space) -> None:
    """Refuse, before anything is read, keys that do not exist, cannot be searched, or have values that cannot be.

    Raises:
        InvalidRecipe: with the nearest match of an unknown key.
        UnknownName: likewise, or a plug-in that does not exist.
    """
    for path, dimension in space.items():
        _check_path(path)
        for value in dimension.ends():
            _check_yardstick(recipe, path, value)
            check_names(changed(recipe, {path: value}))


def check_models(recipe: Recipe, prepared: Prepared, space: Space) -> None:
    """Refuse, before any trial, ends of the space at which no model can be built or trained.

    Raises:
        RequestError: what building it says.
    """
    for path, dimension in space.items():
        for value in dimension.ends():
            candidate = changed(recipe, {path: value})
            prepared.modality.check_augment(candidate.data.augment)
            Assembly(beside(candidate, Path()), prepared, Processes(alone=True)).close()


def derive(recipe: Recipe, family: Family) -> dict[str, Range | Choices]:
    """The space of a recipe that declares none.

    Learning rates around the recipe's own, weight decay, and dropout where a network has it; the batch size only where
    the budget is time, for among equal numbers of steps the larger batch would just have seen more.

    Raises:
        Unsupported: the family counts, so that there is nothing to derive.
    """
    train = recipe.train
    if not family.phases():
        raise Unsupported(
            f"nothing to search can be derived for the family {recipe.model.family}: it counts",
            cure="declare tune.space in the recipe",
        )
    space: dict[str, Range | Choices] = {"train.learning_rate": _around(train.learning_rate)}
    if train.optimiser.name == "muon" and train.optimiser.other_learning_rate is not None:
        space["train.optimiser.other_learning_rate"] = _around(train.optimiser.other_learning_rate)
    space["train.optimiser.weight_decay"] = _with(train.optimiser.weight_decay, [0.0, 0.01, 0.1])
    for path in _dropouts(recipe, family):
        space[path] = Range(low=0.0, high=0.3)
    if recipe.tune.get("minutes") is not None:
        size, micro = train.batch_size, train.accumulate
        sizes = [one for one in (size // 2, size, 2 * size) if one >= micro and one % micro == 0]
        space["train.batch_size"] = Choices(tuple(sizes))
    return space


def own_values(recipe: Recipe, family: Family, space: Space) -> dict[str, Any]:
    """What the recipe has at each path, also where a network or the family decides; ``None`` where nothing is said."""
    return {path: _own(path.split("."), recipe, family) for path in space}


def widened(space: Space, own: Mapping[str, Any]) -> dict[str, Range | Choices]:
    """The space with the recipe's own values among its choices."""
    return {
        path: _with(own[path], dimension.ends()) if isinstance(dimension, Choices) else dimension
        for path, dimension in space.items()
    }


def _check_path(path: str) -> None:
    if any(path == allowed or path.startswith(f"{allowed}.") for allowed in SEARCHED):
        if path.removeprefix("train.").split(".")[0] not in FIXED:
            return
        raise InvalidRecipe(f"{path} is the budget of trials, or changes nothing that they are measured by", given=path)
    section = path.split(".", maxsplit=1)[0]
    if section not in Recipe.model_fields:
        known = {allowed.split(".")[0] for allowed in SEARCHED}
        raise UnknownName("section in recipe.tune.space", section, known, cure=f"given was {path}")
    raise InvalidRecipe(
        "trials that differ in this would not compare, or train different data", given=path, allowed=SEARCHED
    )


def _check_yardstick(recipe: Recipe, path: str, value: Any) -> None:
    """An option of the family may be named by the path, or within a value that is a whole section."""
    section, _, option = path.partition("model.options")
    if section:
        return
    named = {option.strip(".").split(".")[0]} if option else set(value) if isinstance(value, Mapping) else set()
    if found := named & families.find(recipe.model.family).evaluation_only:
        raise InvalidRecipe(
            f"{', '.join(sorted(found))} of {recipe.model.family} changes how trials are measured, not how they train",
            given=path,
            cure="set it once, in model.options",
        )


def _around(rate: float) -> Range:
    return Range(low=rate / _WIDER, high=min(10.0, rate * _WIDER), log=True)


def _with(value: Any, values: list[Any]) -> Choices:
    return Choices(tuple(values if value in values or value is None else [value, *values]))


def _dropouts(recipe: Recipe, family: Family) -> list[str]:
    """Paths of dropout: one of all roles where the recipe names one network for all, else one a role."""
    networks = {role: getattr(family, role) for role in family.roles}
    roles = [
        role for role, made in networks.items() if isinstance(made, Network) and "dropout" in made.Config.model_fields
    ]
    given = recipe.model.network
    if len(family.roles) == 1 or (given and not set(given) <= set(family.roles)):
        return ["model.network.dropout"] if roles and len(roles) == len(family.roles) else []
    return [f"model.network.{role}.dropout" for role in roles]


def _own(keys: list[str], recipe: Recipe, family: Family) -> Any:
    if keys[:2] == ["model", "options"]:
        return _walk(family.config.to_json(), keys[2:])
    if keys[:2] == ["model", "network"]:
        role, rest = (
            (keys[2], keys[3:]) if keys[2:3] and keys[2] in family.roles else (next(iter(family.roles)), keys[2:])
        )
        return _walk(getattr(family, role).config.to_json(), rest)
    return _walk(recipe.to_json(), keys)


def _walk(data: Any, keys: list[str]) -> Any:
    for key in keys:
        data = data.get(key) if isinstance(data, Mapping) else None
    return data
