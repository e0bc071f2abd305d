"""What a recipe refers to: its data, prepared with its frozen parts, and the other stages of its run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from miaobi import families
from miaobi.data import Prepared, prepare
from miaobi.data.plan import Fitted
from miaobi.errors import InvalidRecipe
from miaobi.models import open_parts, open_start
from miaobi.pretrained import is_public
from miaobi.recipe import Recipe, plugin_name
from miaobi.training.continual.chain import led
from miaobi.training.continual.mixing import open_refresh
from miaobi.training.run_folder import STAGES

_STAGE = "stage:"


def open_data(recipe: Recipe, log: Callable[[str], None] | None = None) -> Prepared:
    """`prepare`, with every part of the recipe open, and with the modalities of a start whose tokens are kept.

    A refresh has old data replayed.

    Raises:
        RequestError: as for `prepare`, for extras that the family lacks, and for parts that cannot be used.
    """
    if recipe.refresh.parent is not None:
        return open_refresh(recipe, log)
    require_extras(recipe)
    return prepare(recipe, fitted=_fitted(recipe), parts=open_parts(recipe), log=log)


def require_extras(recipe: Recipe) -> None:
    """Refuse data that lacks what the family needs of every item.

    Raises:
        InvalidRecipe: naming what ``data.extra`` has to say.
    """
    for name in families.find(recipe.model.family).extras:
        if name not in recipe.data.extra:
            raise InvalidRecipe(
                f"the family {recipe.model.family} needs {name!r} of every item",
                given=f"data.extra: {sorted(recipe.data.extra)}",
                cure=f"name its column: data.extra: {{{name}: {{column: ...}}}}",
            )


def _fitted(recipe: Recipe) -> Fitted | None:
    """The modalities of the model to start from, where the family goes on with its tokens."""
    start = recipe.model.start
    if start is None or is_public(start) or not families.find(recipe.model.family).keeps_tokens:
        return None
    model = open_start(start)
    if model.modality.shown.name != plugin_name(recipe.modality):
        raise InvalidRecipe(
            "the model to start from is of another modality",
            given=plugin_name(recipe.modality),
            allowed=model.modality.shown.name,
        )
    return model.modality, model.conditions


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
