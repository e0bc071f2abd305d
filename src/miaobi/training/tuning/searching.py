"""Working on a study: trial after trial, until there is nothing left to take and nobody left to wait for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from optuna.trial import TrialState

from miaobi.errors import Diverged, InvalidRecipe, Unsupported
from miaobi.recipe import Recipe
from miaobi.training.result import Result
from miaobi.training.run_folder import RunFolder
from miaobi.training.tuning.study import DEFAULT, Study, Taken
from miaobi.training.watching import Look, Watch

PRUNED = "pruned: at this share of the budget most trials had been better"
"""Why a pruned run ended; its run folder says so too."""
PATIENCE = 0.2
"""Seconds between two looks for work that another process may have left."""


class Train(Protocol):
    """Trains a recipe in a run folder, going on with what is there."""

    def __call__(self, recipe: Recipe, run: Path, watch: Watch | None) -> Result:
        """As `miaobi.train` with ``resume``."""


def search(study: Study, count: int, train: Train, say: Callable[[str], None]) -> None:
    """Work until the first ``count`` trials of the study are finished, by this process or another.

    Raises:
        RequestError: the recipe as it is cannot be trained.
        RunFailed: the machine failed; the trial is left to whoever comes next.
        KeyboardInterrupt: likewise.
    """
    while not study.finished(count):
        taken = study.take(count)
        if taken is None:
            time.sleep(PATIENCE)
            continue
        try:
            _work(study, taken, count, train, say)
        finally:
            taken.lease.release()


def _work(study: Study, taken: Taken, count: int, train: Train, say: Callable[[str], None]) -> None:
    folder = study.folder.trial(taken.number)
    said = ", ".join(f"{path.rpartition('.')[2]} {_short(value)}" for path, value in taken.values.items())
    say(f"trial {taken.number} of {count}{' (left behind, taken up)' if taken.left else ''}: {said or 'as it is'}")

    def watch(look: Look) -> str | None:
        return PRUNED if study.report(taken, look) else None

    try:
        result = train(study.design.trial(taken.values), folder, watch)
    except (InvalidRecipe, Unsupported, Diverged) as error:
        if taken.number == DEFAULT and not isinstance(error, Diverged):
            raise
        study.tell(taken, TrialState.FAIL, None, reason=error.message)
        say(f"trial {taken.number} failed: {error.message}")
        return
    _conclude(study, taken, result, say)
    # The model stays; what a finished trial could be resumed from is the most of its folder.
    shutil.rmtree(RunFolder(folder).checkpoints, ignore_errors=True)


def _conclude(study: Study, taken: Taken, result: Result, say: Callable[[str], None]) -> None:
    facts: dict[str, Any] = {"steps": result.steps}
    if result.stopped == PRUNED:
        study.tell(taken, TrialState.PRUNED, None, **facts)
        say(f"trial {taken.number} pruned after {result.steps} steps")
        return
    if result.best is None:
        study.tell(taken, TrialState.FAIL, None, reason="no evaluation was finite", **facts)
        say(f"trial {taken.number} failed: no evaluation was finite")
        return
    before = study.best()
    value = float(result.best["value"])
    study.tell(taken, TrialState.COMPLETE, value, **facts)
    best = before is None or before.value is None or study.design.better(value, before.value)
    say(f"trial {taken.number}: {study.design.figure} {value:.5g}{' (best)' if best else ''}")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
