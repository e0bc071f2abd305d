"""``report.html`` of a study: what was found, whether it holds, every trial, and what mattered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from miaobi.evaluation import report
from miaobi.training.tuning.confirming import TEST
from miaobi.training.tuning.result import Tuned
from miaobi.training.tuning.study import DEFAULT, Study


def page(study: Study, tuned: Tuned, pictures: Sequence[Path]) -> str:
    """The page of a finished search; trials have pages of their own in their folders."""
    sections = [
        report.prose("Found", tuned.summary),
        _confirmed(study, tuned),
        report.table(
            "Best values",
            ("setting", "as it is", "best"),
            [(path, _said(study.design.own[path]), _said(value)) for path, value in tuned.best["parameters"].items()],
        ),
        report.files("Pictures", pictures, "A cross is a pruned trial's last value, of fewer steps than the others'."),
        report.table(
            "What mattered",
            ("setting", "share"),
            tuned.importances.items(),
            "By PED-ANOVA (Watanabe et al. 2023) over the trials that went their whole length; few trials say little.",
        ),
        report.table(
            "Trials",
            ("trial", "state", study.design.figure, "steps", *study.design.space),
            [_row(study, trial) for trial in study.trials()],
            "Validation: the best of a trial's evaluations, or a pruned one's last. Trial 0 is the recipe as it is.",
        ),
        report.commands("Next", [(f"miaobi train {tuned.recipe}", "Train the best recipe for its own length:")]),
    ]
    return report.page(study.folder.root.resolve().name, sections, study.design.requested.model.family)


def _confirmed(study: Study, tuned: Tuned) -> report.Section:
    confirmed = tuned.confirmed
    if confirmed is None:
        return report.Section("Confirmed", "")
    first = study.design.requested.seed + 1
    rows = [
        (first + place, ours, theirs)
        for place, (ours, theirs) in enumerate(zip(confirmed.best, confirmed.default, strict=True))
    ]
    header = ("seed", f"trial {tuned.best['trial']}", "as it is")
    seen = "which the search never saw" if confirmed.part == TEST else "which the search selected on"
    note = (
        f"{study.design.figure} on the {confirmed.part} part, {seen}. {confirmed}."
        if confirmed.part
        else str(confirmed)
    )
    return report.table("Confirmed", header, rows, note)


def _row(study: Study, trial: FrozenTrial) -> list[Any]:
    reason = trial.user_attrs.get("reason")
    state = trial.state.name.lower() + (f": {reason}" if reason else "")
    values = study.design.own if trial.number == DEFAULT else study.values(trial)
    drawn = [_said(values[path]) for path in study.design.space]
    return [trial.number, state, "" if trial.value is None else trial.value, trial.user_attrs.get("steps", ""), *drawn]


def _said(value: Any) -> Any:
    return "" if value is None else value
