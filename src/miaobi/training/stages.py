"""A recipe of stages: runs of their own under ``RUN/stages/NAME``, in order; the last one's model is the run's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from miaobi.errors import InvalidRecipe, SaveFailed
from miaobi.recipe import Recipe
from miaobi.training.result import Result
from miaobi.training.run_folder import RunFolder


def run(recipe: Recipe, folder: RunFolder, train: Callable[[Recipe, Path], Result]) -> Result:
    """Train every stage by ``train`` and copy the last one's model to ``folder``.

    A stage that was finished before is found so by its own run folder, and costs little.
    """
    results = [
        train(stage(recipe, section, folder.root), folder.root / "stages" / name)
        for name, section in recipe.stages.items()
    ]
    last = results[-1]
    _copy(last.model, folder.model)
    return replace(last, run=folder.root, model=folder.model)


def stage(recipe: Recipe, section: Mapping[str, Any], root: Path) -> Recipe:
    """The recipe of one stage: ``section`` replaces settings, and ``stage:NAME`` becomes that stage's run.

    A null takes a setting away. Another family takes nothing of the recipe's own ``model`` section but its size.

    Raises:
        InvalidRecipe: a stage has stages, or refers to one that does not exist.
    """
    if "stages" in section:
        raise InvalidRecipe("a stage cannot have stages of its own", given=sorted(section))
    base = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"stages"})
    if section.get("model", {}).get("family", recipe.model.family) != recipe.model.family:
        base["model"] = {key: value for key, value in base["model"].items() if key == "size"}
    return Recipe.load(_resolved(_merged(base, section), recipe, root))


def _merged(base: Mapping[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in section.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return {key: value for key, value in merged.items() if value is not None or key not in section}


def _resolved(value: Any, recipe: Recipe, root: Path) -> Any:
    if isinstance(value, Mapping):
        return {key: _resolved(inner, recipe, root) for key, inner in value.items()}
    if not (isinstance(value, str) and value.startswith("stage:")):
        return value
    name = value.removeprefix("stage:")
    if name not in recipe.stages:
        raise InvalidRecipe("no such stage", given=value, allowed=list(recipe.stages))
    return f"run:{root / 'stages' / name}"


def _copy(model: Path, place: Path) -> None:
    fresh = place.with_name(f".{place.name}-copy")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(model, fresh)
        shutil.rmtree(place, ignore_errors=True)
        fresh.rename(place)
    except OSError as error:
        raise SaveFailed(f"could not copy the model to {place}: {error}", cure="free some disk space") from None
