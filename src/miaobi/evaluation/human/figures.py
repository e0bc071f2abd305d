"""What answers say: estimates of systems, of pairs of them, and of raters' agreement, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.special import expit, logit

from miaobi.evaluation.human import agreement, statistics
from miaobi.evaluation.human.records import POINTS, REAL, TIE, Answer, Design, Role, Task, Trial
from miaobi.evaluation.human.store import Study
from miaobi.evaluation.metrics._intervals import Interval

_CLUSTERED = "at the effective number of answers (clustered by rater and by item), fewer where raters or items are few"
_JACKKNIFE = "95 %, Student's t, leaving out each rater and each set of items in turn (two-way jackknife)"
_WILSON = f"95 %, Wilson, {_CLUSTERED}"
_EXACT = f"95 %, Clopper-Pearson {_CLUSTERED}"
_ITEMS = "95 %, percentiles of 1,000 resamples of items"
_FLIP = (
    "two-sided, exact, of these raters: the items of a set exchanged together for all of them (of one rater the "
    "binomial test)"
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One estimate.

    Attributes:
        name: what it is.
        of: a system, or ``A over B``; empty where it is of the whole study.
        value, interval: the estimate, its 95 % interval as ``method`` says.
        answers, sets, raters: what it comes from.
        p: of no difference; ``detail``: what belongs to it; ``method``: how all this was got.
    """

    name: str
    of: str
    value: float
    interval: Interval | None
    answers: int
    sets: int
    raters: int
    method: str
    p: float | None = None
    detail: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """Answers to rated trials, one an entry: the systems shown, what was said, and the numbers of rater and set."""

    trials: list[Trial]
    systems: list[tuple[str, ...]]
    choices: list[str]
    raters: np.ndarray
    sets: np.ndarray
    firsts: list[bool]
    seed: int

    @classmethod
    def of(cls, study: Study, answers: Sequence[Answer]) -> Seen:
        known = {trial.key: trial for trial in study.trials}
        rated = [answer for answer in answers if known[answer.trial].role is Role.RATED]
        trials = [known[answer.trial] for answer in rated]
        return cls(
            trials,
            [tuple(study.pieces[id_].system for id_ in trial.pieces) for trial in trials],
            [answer.choice for answer in rated],
            _numbers([answer.rater for answer in rated]),
            _numbers([trial.set for trial in trials]),
            [answer.choice == answer.first for answer in rated],
            study.design.seed,
        )

    def where(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of raters and sets of some of the answers, counted anew."""
        return _numbers(self.raters[mask].tolist()), _numbers(self.sets[mask].tolist())

    def figure(
        self, mask: np.ndarray, name: str, of: str, value: float, interval: Any, method: str, **more: Any
    ) -> Figure:
        raters, sets = self.where(mask)
        counts = int(mask.sum()), int(sets.max()) + 1, int(raters.max()) + 1
        return Figure(name, of, value, interval, *counts, method, **more)


def _numbers(names: Sequence[Any]) -> np.ndarray:
    places = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([places[name] for name in names], dtype=np.int64)


def figures_of(design: Design, seen: Seen) -> list[Figure]:
    """Every estimate that the design's task has."""
    of_task = {Task.LIKERT: _likert, Task.PAIRS: _pairs, Task.REAL: _real}[design.task]
    found = of_task(design, seen)
    everything = np.ones(len(seen.trials), dtype=bool)
    found += _agreement(design, seen, everything)
    if design.task is not Task.LIKERT:
        first = np.array(
            [0.5 if choice == TIE else float(f) for choice, f in zip(seen.choices, seen.firsts, strict=True)]
        )
        found.append(_share(seen, everything, "first_side", "", first))
    return found


def _agreement(design: Design, seen: Seen, everything: np.ndarray) -> list[Figure]:
    """Alpha, and beside it the plain share of pairs of answers that agree; nothing where nobody answered the same."""
    table = agreement.table_of(_said(design, seen))
    if table is None:
        return []
    measures = {
        f"krippendorff_alpha_{agreement.LEVELS[design.task]}": lambda some: agreement.krippendorff(some, design.task),
        "pairwise_agreement": agreement.alike,
    }
    measured = {name: agreement.over_items(table, seen.seed, figure) for name, figure in measures.items()}
    return [
        seen.figure(everything, name, "", value, interval, _ITEMS)
        for name, (value, interval) in measured.items()
        if not math.isnan(value)
    ]


def _said(design: Design, seen: Seen) -> Mapping[tuple[int, int], float]:
    """(rater, trial) to a number: the rating, or which of the pieces."""
    trials = _numbers([trial.key for trial in seen.trials])
    numbers = [
        float(choice) if design.task is Task.LIKERT else float([*trial.pieces, TIE].index(choice))
        for trial, choice in zip(seen.trials, seen.choices, strict=True)
    ]
    keys = zip(seen.raters.tolist(), trials.tolist(), strict=True)
    return dict(zip(keys, numbers, strict=True))


def _likert(design: Design, seen: Seen) -> list[Figure]:
    values = np.array([float(choice) for choice in seen.choices])
    of = np.array([systems[0] for systems in seen.systems])
    found = []
    for system in design.systems:
        mask = of == system
        if mask.any():
            value, interval = statistics.mean(values[mask], *seen.where(mask))
            spread = {n: int((values[mask] == n).sum()) for n in range(1, 6)}
            held = _within(interval, 1, POINTS)
            found.append(seen.figure(mask, "mean_rating", system, value, held, _JACKKNIFE, detail={"ratings": spread}))
    for one, two in combinations(design.systems, 2):
        mask = (of == one) | (of == two)
        if len(set(of[mask])) == 2 and mask.sum() > 2:
            value, interval = statistics.difference(of[mask] == one, values[mask], *seen.where(mask))
            held = _within(interval, 1 - POINTS, POINTS - 1)
            found.append(seen.figure(mask, "rating_difference", f"{one} less {two}", value, held, _JACKKNIFE))
    return found


def _pairs(design: Design, seen: Seen) -> list[Figure]:
    wins = np.array([_win(trial, choice) for trial, choice in zip(seen.trials, seen.choices, strict=True)])
    found = []
    for one, two in combinations(design.systems, 2):
        mask = np.array([systems == (one, two) for systems in seen.systems])
        if mask.any():
            counts = {name: int((wins[mask] == n).sum()) for name, n in (("wins", 1), ("losses", 0), ("ties", 0.5))}
            p = statistics.sign_flip(wins[mask], seen.where(mask)[1])
            detail = {**counts, "p_method": _FLIP}
            found.append(_share(seen, mask, "win_rate", f"{one} over {two}", wins[mask], p=p, detail=detail))
    return [*found, *(_ranking(design, seen, wins) if len(design.systems) > 1 else [])]


def _ranking(design: Design, seen: Seen, wins: np.ndarray) -> list[Figure]:
    """Bradley-Terry, and what it comes to: the chance to be preferred to one of the others."""
    lefts, rights = (list(side) for side in zip(*seen.systems, strict=True))

    def fitted(weights: np.ndarray) -> np.ndarray:
        return statistics.strengths(lefts, rights, wins, design.systems, weights)

    def both(weights: np.ndarray) -> np.ndarray:
        # Chances on the scale of the logarithm of their odds, so that no interval leaves 0 to 1.
        logs = fitted(weights)
        return np.stack([logs, logit(statistics.beats(logs))])

    value, interval = statistics.jackknifed(seen.raters, seen.sets, both)
    everything = np.ones(len(wins), dtype=bool)
    method = f"{_JACKKNIFE}; Bradley-Terry by evalica, one drawn comparison of every pair added"
    found = []
    for row, (name, shown) in enumerate((("log_strength", float), ("preferred_to_others", expit))):
        for n, system in enumerate(design.systems):
            ends = None if interval is None else (float(shown(interval[0, row, n])), float(shown(interval[1, row, n])))
            found.append(seen.figure(everything, name, system, float(shown(value[row, n])), ends, method))
    return found


def _real(design: Design, seen: Seen) -> list[Figure]:
    right = np.array([1 - _win(trial, choice) for trial, choice in zip(seen.trials, seen.choices, strict=True)])
    found = []
    for system in design.systems:
        mask = np.array([systems == (system, REAL) for systems in seen.systems])
        if not mask.any():
            continue
        values, (raters, sets) = right[mask], seen.where(mask)
        share, count = float(values.mean()), statistics.effective(values, raters, sets)
        p, needed = statistics.sign_flip(values, sets), statistics.detectable(int(count))
        detail = {"effective_answers": count, "detectable_accuracy": needed, "p_method": _FLIP}
        interval = statistics.exact(share, statistics.cautious(count, raters, sets))
        detail["verdict"] = _verdict(p, share, interval, needed)
        found.append(seen.figure(mask, "accuracy_against_real", system, share, interval, _EXACT, p=p, detail=detail))
    return found


def _verdict(p: float, share: float, interval: Interval, needed: float | None) -> str:
    if p < 0.05:
        kind = "told apart from real items" if share > 0.5 else "told apart: taken for real more often than real items"
        return f"{kind} ({share:.0%} right, chance is 50 %)"
    seen = "none at all" if needed is None else f"{needed:.0%} or more"
    return (
        f"not shown to be told apart, which does not show that they cannot be: up to {interval[1]:.0%} right is "
        f"compatible with the answers; accuracy that so few answers would have found four times in five: {seen}"
    )


def _share(seen: Seen, mask: np.ndarray, name: str, of: str, values: np.ndarray, **more: Any) -> Figure:
    where = seen.where(mask)
    share, count = float(values.mean()), statistics.cautious(statistics.effective(values, *where), *where)
    return seen.figure(mask, name, of, share, statistics.wilson(share, count), _WILSON, **more)


def _within(interval: Interval | None, low: float, high: float) -> Interval | None:
    """An interval cut at the ends of the scale."""
    return None if interval is None else (max(low, interval[0]), min(high, interval[1]))


def _win(trial: Trial, choice: str) -> float:
    return 0.5 if choice == TIE else float(choice == trial.pieces[0])
