"""What a recipe refers to: its data, prepared with its frozen parts, and the other stages of its run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from miaobi.data import Prepared, prepare
from miaobi.errors import InvalidRecipe
from miaobi.models import open_parts
from miaobi.recipe import Recipe
from miaobi.training.continual.chain import led
from miaobi.training.continual.mixing import open_refresh
from miaobi.training.run_folder import STAGES

_STAGE = "stage:"


def open_data(recipe: Recipe, log: Callable[[str], None] | None = None) -> Prepared:
    """`prepare`, with every part of the recipe open; of a refresh, with old data replayed.

    Raises:
        RequestError: as for `prepare`, and for parts that cannot be used.
    """
    if recipe.refresh.parent is not None:
        return open_refresh(recipe, log)
    return prepare(recipe, parts=open_parts(recipe), log=log)


def stages_used(recipe: Recipe) -> list[str]:
    """Every NAME that the recipe refers to as ``stage:NAME``: in ``model.start``, ``model.parts`` and ``supply``."""
    said = [recipe.model.start or "", *recipe.model.parts.values(), *recipe.supply.values()]
    return list(dict.fromkeys(one.removeprefix(_STAGE) for one in said if one.startswith(_STAGE)))


def beside(recipe: Recipe, run: Path) -> Recipe:
    """The recipe of the run in ``run``, each ``stage:NAME`` and ``version:NNNN`` being what it means there.

    Only what is opened is spelled so; what is written keeps these names, so that a run can be moved.

    Raises:
        InvalidRecipe: it refers to stages or versions, and is none.
    """
    recipe = led(recipe, run)
    # Not resolved: a stage that is a link to another disk has its neighbours here.
    stages = Path(os.path.abspath(run)).parent  # noqa: PTH100
    if stages_used(recipe) and stages.name != STAGES:
        raise InvalidRecipe(
            "stage:NAME means something in a recipe of stages only",
            given=[f"{_STAGE}{name}" for name in stages_used(recipe)],
            cure="write run:PATH, or resume the run in its own folder",
        )
    return within(recipe, stages)


def within(recipe: Recipe, stages: Path) -> Recipe:
    """The recipe with each ``stage:NAME`` as ``run:STAGES/NAME``."""

    def led(said: str) -> str:
        return f"run:{stages / said.removeprefix(_STAGE)}" if said.startswith(_STAGE) else said

    model = {
        "start": recipe.model.start and led(recipe.model.start),
        "parts": {name: led(said) for name, said in recipe.model.parts.items()},
    }
    supply = {name: led(said) for name, said in recipe.supply.items()}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=model), "supply": supply})
