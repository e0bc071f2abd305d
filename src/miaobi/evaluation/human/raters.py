"""Who answered, and whether what they said counts: by catch trials, whose answers are known."""

from __future__ import annotations

import statistics as plain
from collections.abc import Sequence
from dataclasses import dataclass

from miaobi.evaluation.human.plan import guessing_passes
from miaobi.evaluation.human.records import CATCHES, Answer
from miaobi.evaluation.human.store import Study

PASSING = 0.8
JUDGED = 0.5
RULE = (
    f"a rater counts who answered at least {JUDGED:.0%} of the catch trials, and at least {PASSING:.0%} of those right"
)


@dataclass(frozen=True, slots=True)
class Rater:
    """One rater, and whether what they said counts.

    Attributes:
        name: theirs.
        answered, trials: how far they are.
        right, catches: catch trials answered right, and answered.
        kept: whether they count; ``why`` not.
        same, repeats: repeated trials answered as before, and answered both times.
        seconds: their median time for an answer.
    """

    name: str
    answered: int
    trials: int
    right: int
    catches: int
    kept: bool
    why: str
    same: int
    repeats: int
    seconds: float


def raters_of(study: Study, answers: Sequence[Answer]) -> list[Rater]:
    """Everyone who answered, by name."""
    known = {trial.key: trial for trial in study.trials}
    catches = sum(trial.role in CATCHES for trial in study.trials)
    found = []
    for name in sorted({answer.rater for answer in answers}):
        own = {answer.trial: answer for answer in answers if answer.rater == name}
        caught = [known[key].passed(one.choice) for key, one in own.items() if known[key].role in CATCHES]
        again = [(own[trial.of], own[key]) for key in own if (trial := known[key]).of in own]
        why = ""
        if len(caught) < JUDGED * catches:
            why = "too few catch trials answered yet"
        elif sum(caught) < PASSING * len(caught) - 1e-9:
            why = "too many catch trials answered wrong"
        same = sum(before.choice == after.choice for before, after in again)
        seconds = plain.median(answer.seconds for answer in own.values())
        found.append(
            Rater(name, len(own), len(study.trials), sum(caught), len(caught), not why, why, same, len(again), seconds)
        )
    return found


def guessing(study: Study) -> float:
    """At most how probable it is that whoever answers at random, and stops when they like, counts."""
    catches = [trial for trial in study.trials if trial.role in CATCHES]
    return guessing_passes(catches, study.design, PASSING, JUDGED)
