"""Pictures of a study: how it went on, what mattered, and where the good values are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from optuna.trial import FrozenTrial, TrialState

from miaobi.errors import SaveFailed
from miaobi.training.tuning.design import Design
from miaobi.training.tuning.settings import Choices
from miaobi.training.tuning.study import DEFAULT, Study

_LOOKS = {TrialState.COMPLETE: ("o", "#a8321f", "whole"), TrialState.PRUNED: ("x", "#9a9da3", "pruned")}
_OWN = "as it is"
_WIDE, _HIGH = 6.4, 3.4
_COLUMNS = 3


def draw(study: Study, importances: Mapping[str, float]) -> list[Path]:
    """Write the pictures as PNG; their paths, in order.

    Raises:
        SaveFailed: the disk is full.
    """
    trials = [trial for trial in study.trials() if trial.value is not None]
    drawn = {"history": _history(trials, study.design)}
    if importances:
        drawn["importance"] = _importance(importances)
    drawn["slices"] = _slices(trials, study.design)
    return [_saved(figure, study.folder.plots / f"{name}.png") for name, figure in drawn.items()]


def _history(trials: Sequence[FrozenTrial], design: Design) -> Figure:
    figure = Figure(figsize=(_WIDE, _HIGH), layout="constrained")
    axes = figure.add_subplot()
    _scatter(axes, trials, [trial.number for trial in trials], design)
    best: list[tuple[int, float]] = []
    for trial in trials:
        value = _value(trial)
        if trial.state is TrialState.COMPLETE:
            kept = value if not best or design.better(value, best[-1][1]) else best[-1][1]
            best.append((trial.number, kept))
    axes.step([number for number, _ in best], [value for _, value in best], where="post", color="#a8321f", label="best")
    axes.set(xlabel="trial", ylabel=f"validation {design.figure}")
    axes.legend()
    return figure


def _importance(importances: Mapping[str, float]) -> Figure:
    names = list(importances)[::-1]
    figure = Figure(figsize=(_WIDE, 0.9 + 0.4 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(names, [importances[name] for name in names], color="#a8321f")
    axes.set(xlabel="share of importance")
    return figure


def _slices(trials: Sequence[FrozenTrial], design: Design) -> Figure:
    """A setting a panel. A cross is a pruned trial's last value, which is of fewer steps than the others."""
    count = len(design.space)
    columns, rows = min(_COLUMNS, count), -(-count // _COLUMNS)
    figure = Figure(figsize=(3.2 * columns, 2.8 * rows), layout="constrained")
    for place, (path, dimension) in enumerate(design.space.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        drawn = [trial.params[path] for trial in trials]
        if isinstance(dimension, Choices):
            names = [str(name) for name in dimension.labels]
            drawn = [names.index(str(one)) for one in drawn]
            axes.set_xticks(range(len(names)), names)
        elif dimension.log:
            axes.set_xscale("log")
        _scatter(axes, trials, drawn, design)
        axes.set(xlabel=path)
    return figure


def _scatter(axes: Any, trials: Sequence[FrozenTrial], places: Sequence[Any], design: Design) -> None:
    """Points; what is far worse than most lies at the edge, so that the others can be told apart."""
    low, high = _limits([_value(trial) for trial in trials], design.lower)
    values = [min(max(_value(trial), low), high) for trial in trials]
    for state, (marker, colour, name) in _LOOKS.items():
        rows = [row for row, trial in enumerate(trials) if trial.state is state and trial.number != DEFAULT]
        axes.scatter(
            [places[row] for row in rows], [values[row] for row in rows], marker=marker, color=colour, label=name
        )
    rows = [row for row, trial in enumerate(trials) if trial.number == DEFAULT]
    axes.scatter([places[row] for row in rows], [values[row] for row in rows], marker="s", color="#1d1f21", label=_OWN)
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)


def _limits(values: Sequence[float], lower: bool) -> tuple[float, float]:
    """From the best value to somewhat beyond that of three quarters of the trials."""
    ordered = sorted(values, reverse=not lower)
    best, most = ordered[0], ordered[3 * (len(ordered) - 1) // 4]
    far = most + 0.5 * (most - best or abs(best) or 1.0) * (1 if lower else -1)
    return min(best, far), max(best, far)


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.value is None else trial.value


def _saved(figure: Figure, path: Path) -> Path:
    written = BytesIO()
    figure.savefig(written, format="png", dpi=110)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(written.getvalue())
    except OSError as error:
        raise SaveFailed(f"could not write {path}: {error}", cure="free some disk space") from None
    return path
