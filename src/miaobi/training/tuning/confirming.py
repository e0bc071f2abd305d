"""Whether the best trial is better than the recipe as it is, or was only lucky: both again, with seeds of their own.

A search takes the best of many noisy figures, so the best trial's own figure flatters it. Each further seed trains
both, and the test part, which the search never saw, compares them in pairs. Without a test part there is no verdict.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miaobi.errors import Diverged
from miaobi.evaluation.metrics._intervals import of_mean
from miaobi.training.run_folder import RunFolder, write_text
from miaobi.training.tuning.searching import PATIENCE, Train
from miaobi.training.tuning.study import DEFAULT, Study

TEST = "test"
Score = Callable[[Path, str, str], tuple[float, str]]
"""A run folder, a metric and a figure of it to the figure on the test part, and the part that was really measured."""


@dataclass(frozen=True)
class Confirmed:
    """The best trial beside the recipe as it is, over further seeds.

    Attributes:
        part: what was measured on: ``test``, or ``validation`` where the split has no test part; then there is no
            verdict, for the search selected on it. Empty where every run diverged.
        best: a figure a seed; NaN where the run diverged. ``default``: those of the recipe as it is.
        gain: the mean of the paired differences, positive where the best trial is better.
        interval: of that gain, 95 %, Student's t over the pairs; ``None`` for fewer than two or with a diverged run.
    """

    part: str
    best: list[float]
    default: list[float]
    gain: float
    interval: tuple[float, float] | None

    @property
    def beyond_noise(self) -> bool:
        """Whether the whole interval is a gain, on the part that the search never saw."""
        return self.part == TEST and self.interval is not None and self.interval[0] > 0

    def __str__(self) -> str:
        where = f", on the {self.part} part" if self.part else ""
        seeds = f"{len(self.best)} further seed{'s' if len(self.best) > 1 else ''}{where}"
        if self.interval is None:
            return f"over {seeds}, a gain of {self.gain:.4g}: too little to tell it from noise"
        low, high = self.interval
        if self.part != TEST:
            return (
                f"over {seeds}, a gain of {self.gain:.4g}, 95 % interval {low:.4g} to {high:.4g}: no verdict, for the "
                "search selected on that part; hold out a test part (data.split.test)"
            )
        verdict = "beyond noise" if self.beyond_noise else "not beyond noise"
        return f"over {seeds}, a gain of {self.gain:.4g}, 95 % interval {low:.4g} to {high:.4g}: {verdict}"


def confirm(study: Study, count: int, train: Train, score: Score, say: Callable[[str], None]) -> Confirmed | None:
    """Train the best trial's recipe and the recipe as it is with ``count`` further seeds; processes share the work.

    ``None`` where no trial beat the recipe as it is, or no seeds are wanted.

    Raises:
        RunFailed: the machine failed; what is left is taken up by whoever comes next.
    """
    best = study.best()
    if best is None or best.number == DEFAULT or count == 0:
        return None
    first = study.design.requested.seed + 1
    work = [(number, seed) for seed in range(first, first + count) for number in (DEFAULT, best.number)]
    while left := [one for one in work if not _done(study, *one).exists()]:
        if not any(_measured(study, *one, train, score, say) for one in left):
            time.sleep(PATIENCE)
    found = {one: json.loads(_done(study, *one).read_text(encoding="utf-8")) for one in work}
    figures = {
        number: [_number(found[one]["value"]) for one in work if one[0] == number] for number in (DEFAULT, best.number)
    }
    part = next((one["part"] for one in found.values() if one["part"]), "")
    return _compared(figures[best.number], figures[DEFAULT], part, study.design.lower)


def _compared(best: list[float], default: list[float], part: str, lower: bool) -> Confirmed:
    sign = -1.0 if lower else 1.0
    gains = [sign * (ours - theirs) for ours, theirs in zip(best, default, strict=True)]
    mean = math.fsum(gains) / len(gains)
    return Confirmed(part, best, default, mean, of_mean(gains) if math.isfinite(mean) else None)


def _measured(study: Study, number: int, seed: int, train: Train, score: Score, say: Callable[[str], None]) -> bool:
    """Do one piece of work, unless another process has it or did it."""
    run = study.folder.confirmation(number, seed)
    lease = study.folder.lease(run)
    if lease is None:
        return False
    try:
        if _done(study, number, seed).exists():
            return True
        say(f"confirming: {'the recipe as it is' if number == DEFAULT else f'trial {number}'} with seed {seed}")
        write_text(_done(study, number, seed), json.dumps(_figure(study, number, seed, train, score)))
        shutil.rmtree(RunFolder(run).checkpoints, ignore_errors=True)
        return True
    finally:
        lease.release()


def _figure(study: Study, number: int, seed: int, train: Train, score: Score) -> dict[str, Any]:
    run = study.folder.confirmation(number, seed)
    recipe = study.design.trial(study.values(study.trials()[number])).model_copy(update={"seed": seed})
    try:
        train(recipe, run, None)
        value, part = score(run, study.design.metric, study.design.figure)
    except Diverged:
        return {"value": None, "part": ""}
    return {"value": value, "part": part}


def _done(study: Study, number: int, seed: int) -> Path:
    run = study.folder.confirmation(number, seed)
    return run.with_name(f"{run.name}.json")


def _number(value: float | None) -> float:
    return math.nan if value is None else value
