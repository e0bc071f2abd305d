"""What can be told of a recipe before anything is read, fetched or trained: whether the names in it exist."""

from __future__ import annotations

from collections.abc import Iterable

from miaobi import families, modalities, networks
from miaobi.errors import InvalidRecipe, UnknownName
from miaobi.evaluation.metrics import check_options, resolve
from miaobi.modalities import views
from miaobi.recipe import Recipe, plugin_name
from miaobi.training.opening import require_extras


def check(recipe: Recipe) -> None:
    """Refuse names and options of plug-ins that do not exist.

    Raises:
        UnknownName: a family, network, modality, view, metric or part.
        InvalidRecipe: an option that a ``Config`` refuses, a supply for no condition, or an extra that is not there.
    """
    family = families.find(recipe.model.family)
    family.Config.parse(recipe.model.options, "recipe.model.options")
    for network in _networks(recipe, family.roles):
        networks.find(network)
    modalities.create(recipe.modality, "recipe.modality")
    for name, section in recipe.data.condition.items():
        if section.view is not None:
            views.create(section.view, f"recipe.data.condition.{name}.view")
        else:
            modalities.create(section.modality, f"recipe.data.condition.{name}.modality")
    for metric in recipe.evaluate.metrics:
        resolve(metric)
    check_options(recipe.evaluate.options)
    require_extras(recipe)
    _check_references(recipe)


def _networks(recipe: Recipe, roles: Iterable[str]) -> list[str]:
    """The networks that are named: one for all roles, or one for a role."""
    given = recipe.model.network
    sections = [given, *(given[role] for role in roles if role in given)]
    return [
        plugin_name(section)
        for section in sections
        if isinstance(section, str) or (isinstance(section, dict) and "name" in section)
    ]


def _check_references(recipe: Recipe) -> None:
    part, dot, _ = (recipe.data.representation or "").partition(".")
    if dot and part not in recipe.model.parts:
        raise UnknownName("part in data.representation", part, recipe.model.parts, cure="name it under model.parts")
    for name in recipe.supply:
        if name not in recipe.data.condition:
            raise InvalidRecipe("supply names no condition", given=name, allowed=list(recipe.data.condition))
