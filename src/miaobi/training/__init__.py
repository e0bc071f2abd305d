"""Training: one trainer for every family; exact resume, guards, estimates and tracking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miaobi import models
from miaobi.errors import InvalidRecipe
from miaobi.recipe import Recipe
from miaobi.training import memory, stages
from miaobi.training.continual import refreshing
from miaobi.training.continual.concluding import conclude
from miaobi.training.deliver import deliver
from miaobi.training.opening import beside, open_data
from miaobi.training.planning import Estimate, plan
from miaobi.training.processes import Processes
from miaobi.training.progress import Reporter
from miaobi.training.publish import is_run, record
from miaobi.training.result import Result
from miaobi.training.run_folder import RunFolder
from miaobi.training.session import Session
from miaobi.training.stages import Estimates
from miaobi.training.surroundings import as_it_was
from miaobi.training.trainer import Trainer
from miaobi.training.watching import Look, Watch

__all__ = ["Estimate", "Estimates", "Look", "Result", "Watch", "estimate", "is_run", "record", "train"]


def train(
    recipe: str | Path | Mapping[str, Any] | Recipe,
    *,
    run: str | Path | None = None,
    changes: Sequence[str] = (),
    resume: bool = False,
    progress: bool = True,
    watch: Watch | None = None,
    continue_with: str | None = None,
) -> Result:
    """Train what a recipe describes, or refresh a trained run with new data.

    Args:
        recipe: a YAML path, a run folder, a mapping or a recipe.
        run: the run folder; default: the given run folder, or ``runs/`` and the recipe file's name.
        changes: ``a.b=c`` settings that override the recipe's.
        resume: go on from the last checkpoint; with nothing saved, start afresh.
        progress: talk on standard error.
        watch: told of every evaluation; it may end the run.
        continue_with: new data for the finished run that ``recipe`` names: its next version, under ``RUN/versions``, is
            trained from the model in use; `promote` puts it in use where its gates passed.

    Raises:
        RequestError: the recipe, its data, or the run folder cannot be used; nothing was done.
        Diverged: NaN or infinity after every rollback.
        SaveFailed: the disk is full; the last checkpoint is intact.
        KeyboardInterrupt: Ctrl-C or SIGTERM; everything is saved, and how to resume was printed.
    """
    if continue_with is not None:
        return _refresh(recipe, continue_with, run, changes, resume=resume, progress=progress, watch=watch)
    loaded = Recipe.load(recipe, changes)
    folder = RunFolder(Path(run) if run is not None else default_folder(recipe))
    if not loaded.stages:
        return _train(loaded, folder, folder, resume=resume, progress=progress, watch=watch)

    def one(part: Recipe, place: Path) -> Result:
        return _train(part, RunFolder(place), folder, resume=True, progress=progress, watch=watch)

    return stages.run(loaded, folder, one, resume=resume)


def _refresh(
    run: str | Path | Mapping[str, Any] | Recipe,
    source: str,
    folder: str | Path | None,
    changes: Sequence[str],
    *,
    resume: bool,
    **how: Any,
) -> Result:
    if not isinstance(run, str | Path) or folder is not None:
        raise InvalidRecipe(
            "new data goes on with a run, in its own folder", cure="give the run's folder in place of a recipe"
        )

    def one(recipe: Recipe, place: Path) -> Result:
        return _train(recipe, RunFolder(place), RunFolder(place), resume=resume, **how)

    return refreshing.refresh(Path(run), source, one, changes=changes, resume=resume)


def _train(
    recipe: Recipe, folder: RunFolder, whole: RunFolder, *, resume: bool, progress: bool, watch: Watch | None
) -> Result:
    """Train a recipe without stages, perhaps one stage of the run in ``whole``."""
    recipe = models.adopt(recipe)
    gates = None
    with as_it_was(), Reporter(progress) as reporter:
        session = Session(recipe, folder, resume=resume, reporter=reporter, whole=whole.root)
        try:
            Trainer(session, watch).run()
            if session.processes.writes:
                deliver(session)
                gates = conclude(session)
        finally:
            session.close()
        if session.processes.writes:
            reporter.say(f"memory at the peak: {memory.peak(session.processes.device) / 2**20:,.0f} MiB")
        reporter.say(f"the run is in {folder.root}: model/, samples/, metrics.jsonl, report.html")
    best = session.state.best
    found = vars(best) if best else None
    return Result(folder.root, session.state.step, found, folder.model, session.state.stopped, gates)


def estimate(recipe: str | Path | Mapping[str, Any] | Recipe, changes: Sequence[str] = ()) -> Estimate | Estimates:
    """What a recipe's run will need: parameters, memory and time, by measuring a few steps.

    A recipe of stages gives `Estimates`: of a run folder, also of stages whose earlier ones are trained.

    Raises:
        RequestError: the recipe or its data cannot be used.
    """
    loaded = Recipe.load(recipe, changes)
    place = Path(recipe) if isinstance(recipe, str | Path) and Path(recipe).is_dir() else None
    with as_it_was():
        if loaded.stages:
            return stages.estimates(loaded, place, _estimate)
        return _estimate(beside(loaded, place or Path()))


def _estimate(recipe: Recipe) -> Estimate:
    recipe = models.adopt(recipe)
    return plan(recipe, open_data(recipe), Processes())[1]


def default_folder(recipe: str | Path | Mapping[str, Any] | Recipe) -> Path:
    """The run folder of a recipe that names none."""
    if not isinstance(recipe, str | Path):
        return Path("runs") / "run"
    path = Path(recipe)
    return path if path.is_dir() else Path("runs") / path.stem
