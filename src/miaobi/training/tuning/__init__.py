"""Hyper-parameter search: trials of one recipe that several processes share, stop early, and take up again."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miaobi.errors import MissingExtra, Unsupported
from miaobi.recipe import Recipe

if TYPE_CHECKING:
    from miaobi.training.result import Result
    from miaobi.training.tuning.result import Tuned
    from miaobi.training.watching import Watch

__all__ = ["tune"]


def tune(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    study: str | Path | None = None,
    trials: int | None = None,
    changes: Sequence[str] = (),
    progress: bool = True,
) -> Tuned:
    """Search for better settings of a recipe, and say whether what was found is better beyond noise.

    The first trial is the recipe as it is. Calling it again with the same study, in another process or after this one
    was killed, joins the study: a trial that was left is taken up in its own folder, with its own parameters.

    Args:
        recipe: a YAML path, a mapping or a recipe; its ``tune`` section says what is searched.
        study: the study's folder; default: ``runs/`` and the recipe file's name with ``-study``.
        trials: how many in all, in place of ``tune.trials``.
        changes: ``a.b=c`` settings that override the recipe's.
        progress: talk on standard error.

    Raises:
        MissingExtra: Optuna is not installed.
        RequestError: the recipe, its space or the folder cannot be used; no trial was begun.
        Diverged: no trial went its whole length.
        SaveFailed: the disk is full; what was found is kept.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the trial is saved, and how to go on was printed.
    """
    _require()
    # Imported here, because these modules are made of Optuna's classes.
    from miaobi.training.progress import Reporter
    from miaobi.training.surroundings import as_it_was
    from miaobi.training.tuning import outcome
    from miaobi.training.tuning.confirming import confirm
    from miaobi.training.tuning.design import design
    from miaobi.training.tuning.searching import search
    from miaobi.training.tuning.settings import TuneSettings
    from miaobi.training.tuning.study import Study
    from miaobi.training.tuning.study_folder import StudyFolder

    asked = Recipe.load(recipe, [*changes, *([] if trials is None else [f"tune.trials={trials}"])])
    settings = TuneSettings.parse(asked.tune, "recipe.tune")
    folder = StudyFolder(Path(study) if study is not None else _default_folder(recipe))
    with as_it_was(), Reporter(progress) as reporter:
        try:
            found = Study(folder, folder.open(asked, lambda one: design(one, reporter.say)))
            search(found, settings.trials, _train, reporter.say)
            confirmed = confirm(found, settings.confirm, _train, _score, reporter.say)
        except KeyboardInterrupt:
            reporter.say(f"interrupted; the same command goes on, with --study {folder.root}")
            raise
        tuned = outcome.conclude(found, confirmed)
        reporter.say(f"the study is in {folder.root}: best.yaml, report.html, trials/")
    return tuned


def _train(recipe: Recipe, run: Path, watch: Watch | None) -> Result:
    from miaobi.training import train

    return train(recipe, run=run, resume=True, progress=False, watch=watch)


def _score(run: Path, metric: str, figure: str) -> tuple[float, str]:
    from miaobi.evaluation import evaluate

    score = evaluate(run, metrics=[metric])[figure]
    return score.value, score.protocol["split"]


def _default_folder(recipe: str | Path | Mapping[str, Any] | Recipe) -> Path:
    return Path("runs") / (f"{Path(recipe).stem}-study" if isinstance(recipe, str | Path) else "study")


def _require() -> None:
    if "WORLD_SIZE" in os.environ:
        raise Unsupported(
            "a search is not started by torchrun", cure="start `miaobi tune` several times with one --study"
        )
    if importlib.util.find_spec("optuna") is None:
        raise MissingExtra("a search", "search")
