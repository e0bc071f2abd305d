"""`refresh`: a version of its own under ``RUN/versions``, trained from the model in use on new and replayed data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from miaobi import families
from miaobi.errors import InvalidRecipe, RunFolderError, Unsupported
from miaobi.evaluation.metrics import resolve
from miaobi.evaluation.paired import check_paired
from miaobi.families import Distilling
from miaobi.modalities import create
from miaobi.models.versions import in_use, run_of
from miaobi.recipe import Recipe
from miaobi.training.continual import chain
from miaobi.training.continual.chain import PREFIX
from miaobi.training.result import Result
from miaobi.training.run_folder import RunFolder


def refresh(
    run: Path,
    source: str,
    train: Callable[[Recipe, Path], Result],
    *,
    changes: Sequence[str] = (),
    resume: bool = False,
) -> Result:
    """Train the next version of a run by ``train``.

    Args:
        run: a finished run.
        source: the new data, read as the run's own was.
        train: trains a recipe in a folder.
        changes: ``a.b=c`` settings that override the run's recipe, ``refresh.replay`` among them.
        resume: go on with the last version where it is of this data and not in use, or start the next.

    Raises:
        RequestError: the run, the data or the settings cannot be used; nothing was done.
        and what ``train`` raises.
    """
    chain.check_run(run)
    version, parent = _place(run, source, resume=resume)
    recipe = recipe_of(run, source, parent, changes)
    check(recipe)
    return train(recipe, run_of(run, version))


def recipe_of(run: Path, source: str, parent: str, changes: Sequence[str] = ()) -> Recipe:
    """The recipe of a refresh: the run's own, from ``parent``'s weights, on ``source``.

    Raises:
        InvalidRecipe: changes that mean nothing.
    """
    recipe = Recipe.load(run, changes)
    settings, train = recipe.refresh, recipe.train
    if settings.parent is not None:
        raise InvalidRecipe(
            "refresh.parent is not a setting: the model in use is refreshed",
            given=settings.parent,
            cure="leave it out, or promote another version first",
        )
    told = {"steps": settings.steps or train.steps, "learning_rate": settings.learning_rate or train.learning_rate}
    update = {
        "data": recipe.data.model_copy(update={"source": source}),
        "model": recipe.model.model_copy(update={"start": f"{PREFIX}{parent}"}),
        "train": train.model_copy(update=told),
        "refresh": settings.model_copy(update={"parent": f"{PREFIX}{parent}"}),
        "tune": {},
        "note": None,
        "expected": {},
    }
    # Copies are not validated.
    return Recipe.load(recipe.model_copy(update=update))


def check(recipe: Recipe) -> None:
    """Refuse before any work what cannot be refreshed, distilled or measured.

    Raises:
        Unsupported: a family that counts, that cannot be distilled, or whose figure is not made of items.
        UnknownName, InvalidRecipe: the metric or its options.
    """
    family = families.find(recipe.model.family)
    if issubclass(family, families.Counting):
        raise Unsupported(
            "a family that counts is not refreshed",
            given=recipe.model.family,
            cure="train it anew on all data: it takes one pass",
        )
    if recipe.refresh.distil and not issubclass(family, Distilling):
        able = [name for name in families.names() if issubclass(families.find(name), Distilling)]
        raise Unsupported(
            "this family does not predict by distributions that could be kept near the old model's",
            given=f"refresh.distil={recipe.refresh.distil:g} with {recipe.model.family}",
            allowed=able,
            cure="set refresh.distil=0; replay works with every family",
        )
    _check_metric(recipe, family)


def metric_of(recipe: Recipe) -> str:
    """What the gates read: the recipe's choice, or the family's own."""
    form = create(recipe.modality, "recipe.modality").form
    return recipe.refresh.metric or families.find(recipe.model.family).metric(form)


def _check_metric(recipe: Recipe, family: type[families.Family]) -> None:
    name = metric_of(recipe)
    check_paired(name, recipe.evaluate.options)
    if not issubclass(family, resolve(name).metric(recipe.evaluate.options).ability):
        raise Unsupported(
            f"the gates cannot measure {recipe.model.family} by {name}",
            given=f"refresh.metric={name}",
            cure="leave refresh.metric out, or name a group that the family can be measured by",
        )


def _place(run: Path, source: str, *, resume: bool) -> tuple[str, str]:
    """The version to train, and the one that it starts from."""
    known, used = chain.versions(run), in_use(run)
    if not known:
        return chain.following(run), used
    last, begun = known[-1], RunFolder(run_of(run, known[-1]))
    if resume and not begun.recipe.is_file():
        return last, used
    if resume and last != used:
        recipe = Recipe.load(begun.recipe)
        if recipe.data.source == source and recipe.refresh.parent is not None:
            return last, recipe.refresh.parent.removeprefix(PREFIX)
    if chain.read_gates(run, last) is None:
        raise RunFolderError(
            "the last refresh is not finished",
            given=str(begun.root),
            cure=f"go on: miaobi train {begun.root} --resume, or delete that folder",
        )
    return chain.following(run), used
