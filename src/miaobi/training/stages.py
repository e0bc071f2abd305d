"""A recipe of stages: runs of their own under ``RUN/stages/NAME``, in order; the last one's model is the run's."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from miaobi import models
from miaobi.errors import InvalidRecipe, SaveFailed
from miaobi.recipe import Recipe
from miaobi.training.checking import check
from miaobi.training.opening import stages_used, within
from miaobi.training.overriding import overridden
from miaobi.training.planning import Estimate
from miaobi.training.processes import Processes
from miaobi.training.publish import publish_stages
from miaobi.training.result import Result
from miaobi.training.run_folder import STAGES, RunFolder, write_text


@dataclass(frozen=True)
class Estimates:
    """What a run of stages needs, as far as it can be known.

    Attributes:
        stages: by name, those that could be measured.
        waiting: by name, for the others: the stages that have to be trained before they can be measured.
    """

    stages: dict[str, Estimate]
    waiting: dict[str, list[str]]

    def __str__(self) -> str:
        known = [f"{name}: {found}" for name, found in self.stages.items()]
        unknown = [
            f"{name}: cannot be estimated before {' and '.join(needed)} {'is' if len(needed) == 1 else 'are'} trained"
            for name, needed in self.waiting.items()
        ]
        return "\n".join([*known, *unknown])


def run(recipe: Recipe, folder: RunFolder, train: Callable[[Recipe, Path], Result], *, resume: bool = False) -> Result:
    """Train every stage by ``train`` and copy the last one's model to ``folder``.

    A stage that was finished before is found so by its own run folder, and costs little.

    Raises:
        RequestError: a stage's recipe or the folder cannot be used; nothing was done.
        SaveFailed: the disk is full; an earlier model is intact.
    """
    parts = recipes(recipe)
    processes = Processes()
    if processes.writes and folder.claim(recipe, resume=resume) is None:
        folder.begin(recipe, recipe, {"stages": list(parts)})
    results = {}
    for name, part in parts.items():
        # A stage opens what the first process wrote at the end of an earlier one.
        processes.agree(None)
        results[name] = train(part, folder.root / STAGES / name)
    last = list(results.values())[-1]
    if processes.writes:
        _copy(last.model, folder.model)
        _conclude(results, folder)
    processes.agree(None)
    return replace(last, run=folder.root, model=folder.model)


def estimates(recipe: Recipe, root: Path | None, estimate: Callable[[Recipe], Estimate]) -> Estimates:
    """What each stage needs, by ``estimate``, where all that it refers to is trained already.

    Args:
        recipe: one of stages.
        root: the run's folder, if it has begun.
        estimate: measures a recipe without stages.
    """
    stages, waiting = {}, {}
    for name, part in recipes(recipe).items():
        missing = [other for other in stages_used(part) if root is None or not _trained(root / STAGES / other)]
        if missing:
            waiting[name] = missing
        else:
            stages[name] = estimate(within(part, root / STAGES) if root else part)
    return Estimates(stages, waiting)


def recipes(recipe: Recipe) -> dict[str, Recipe]:
    """The recipe of every stage, checked as far as can be before any is trained; they keep ``stage:NAME``.

    Raises:
        InvalidRecipe: a stage that cannot be parsed, has stages, or refers to one that does not come before it.
        UnknownName: a family, network, modality, view or metric that does not exist.
    """
    found: dict[str, Recipe] = {}
    for name, section in recipe.stages.items():
        found[name] = _own(recipe, section, f"recipe.stages.{name}")
        for used in stages_used(found[name]):
            if used not in recipe.stages or used not in list(found)[:-1]:
                raise InvalidRecipe(
                    f"the stage {name} refers to {'a later one' if used in recipe.stages else 'no stage'}",
                    given=f"stage:{used}",
                    allowed=list(found)[:-1] or "none: it is the first",
                )
        check(found[name])
    return found


def _own(recipe: Recipe, section: Mapping[str, Any], where: str) -> Recipe:
    """The recipe of one stage: ``section`` replaces settings, and a null takes one away.

    Another family takes nothing of the recipe's own ``model`` section but its size, and another plug-in none of the old
    one's options.
    """
    if "stages" in section:
        raise InvalidRecipe("a stage cannot have stages of its own", given=sorted(section))
    base = recipe.model_dump(mode="json", exclude_defaults=True, exclude={"stages"})
    model = section.get("model")
    if isinstance(model, Mapping) and model.get("family", recipe.model.family) != recipe.model.family:
        base["model"] = {key: value for key, value in base["model"].items() if key == "size"}
    return Recipe.parse(overridden(base, section, Recipe), where)


def _trained(run: Path) -> bool:
    return (run / "model" / "model.json").is_file()


def _conclude(results: Mapping[str, Result], folder: RunFolder) -> None:
    publish_stages(folder, {name: models.info_of(result.model) for name, result in results.items()})
    said = {
        name: {"steps": result.steps, "best": result.best, "stopped": result.stopped}
        for name, result in results.items()
    }
    lineage = json.loads(folder.lineage.read_text(encoding="utf-8")) | {"result": said}
    write_text(folder.lineage, json.dumps(lineage, indent=1, ensure_ascii=False))


def _copy(model: Path, place: Path) -> None:
    """Copy a model folder so that a whole one is at ``place``, or beside it, whatever happens."""
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        fresh, old = beside / "fresh", beside / "old"
        try:
            shutil.copytree(model, fresh)
            if place.exists():
                place.rename(old)
            try:
                fresh.rename(place)
            except OSError:
                if old.exists():
                    old.rename(place)
                raise
        finally:
            # Also what a killed process left.
            for left in place.parent.glob(f".{place.name}-*"):
                shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise SaveFailed(f"could not copy the model to {place}: {error}", cure="free some disk space") from None
