"""What a search came to: its result, and the best trial as a recipe of its own."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from miaobi.errors import Diverged
from miaobi.recipe import Recipe
from miaobi.training.run_folder import write_text
from miaobi.training.tuning import page, plots
from miaobi.training.tuning.confirming import Confirmed
from miaobi.training.tuning.result import Tuned
from miaobi.training.tuning.space import changed
from miaobi.training.tuning.study import DEFAULT, Study


def conclude(study: Study, confirmed: Confirmed | None) -> Tuned:
    """Write ``best.yaml``, the pictures and the page, and give the result.

    Raises:
        Diverged: no trial went its whole length.
        SaveFailed: the disk is full.
    """
    trials, best = study.trials(), study.best()
    if best is None:
        raise Diverged(
            "no trial went its whole length",
            given=trials[DEFAULT].user_attrs.get("reason"),
            cure="lower the learning rates of tune.space",
        )
    states = [trial.state for trial in trials]
    tuned = Tuned(
        study=study.folder.root,
        figure=study.design.figure,
        trials=len(trials),
        pruned=states.count(TrialState.PRUNED),
        failed=states.count(TrialState.FAIL),
        best={"trial": best.number, "value": best.value, "parameters": study.values(best)},
        default={"trial": DEFAULT, "value": trials[DEFAULT].value},
        confirmed=confirmed,
        recipe=study.folder.best,
        importances=study.importances(),
        summary=" ".join(_found(study, best, confirmed)),
    )
    with study.folder.held():
        write_text(study.folder.best, _recipe(study, tuned).to_yaml())
        write_text(study.folder.report, page.page(study, tuned, plots.draw(study, tuned.importances)))
    return tuned


def _found(study: Study, best: FrozenTrial, confirmed: Confirmed | None) -> list[str]:
    trials, shared, figure = study.trials(), study.design.shared, study.design.figure
    budget = f"{shared['minutes']:g} minutes" if shared["minutes"] else f"{shared['steps']:,} steps"
    of = f"of {len(trials)} trials of {budget}"
    if best.number == DEFAULT:
        return [f"The recipe as it is was the best {of}: validation {figure} {best.value:.5g}."]
    default = trials[DEFAULT].value
    beside = "which diverged" if default is None else f"with {default:.5g}"
    found = f"Trial {best.number} was the best {of}: validation {figure} {best.value:.5g}"
    first = f"{found}, beside the recipe as it is, {beside}."
    return [first, f"Confirmed {confirmed}."] if confirmed else [first]


def _recipe(study: Study, tuned: Tuned) -> Recipe:
    """The recipe as asked for, with the best trial's values, its own length, and where they come from."""
    recipe = changed(study.design.plain, tuned.best["parameters"])
    first = f"{recipe.note.strip()}\n\n" if recipe.note else ""
    said = f"{first}Found by `miaobi tune` in {tuned.study.resolve().name}. {tuned.summary}"
    # What was measured was measured of another recipe.
    return recipe.model_copy(update={"note": said, "expected": {}})
