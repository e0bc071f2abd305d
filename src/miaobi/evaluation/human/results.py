"""`results`: what a study's answers say, with intervals, agreement, and who was left out by which rule."""

from __future__ import annotations

import json
import statistics as plain
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from miaobi.errors import SaveFailed
from miaobi.evaluation.human import statistics
from miaobi.evaluation.human.page import render
from miaobi.evaluation.human.plan import guessing_passes
from miaobi.evaluation.human.records import CATCHES, REAL, TIE, Answer, Design, Role, Task, Trial
from miaobi.evaluation.human.store import Study
from miaobi.evaluation.metrics._intervals import Interval

PASSING = 0.8
JUDGED = 0.5
RULE = (
    f"a rater counts who answered at least {JUDGED:.0%} of the catch trials, and at least {PASSING:.0%} of those right"
)
_FEW_RATERS = 5
_BOOTSTRAP = "95 %, percentiles of 1,000 resamples of raters and of items (pigeonhole bootstrap)"
_WILSON = "95 %, Wilson, at the effective number of answers (clustered by rater and by item)"
_EXACT = "95 %, Clopper-Pearson at the effective number of answers (clustered by rater and by item)"
_FLIP = "two-sided, exact: the items of a set exchanged together for all raters (of one rater the binomial test)"


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
class Results:
    """What a study says so far.

    Attributes:
        folder: the study's; ``design``: what it asks.
        raters: everyone who answered.
        figures: of those who count.
        notes: what to keep in mind.
        guessing: how likely random answers are to count.
    """

    folder: Path
    design: Design
    raters: list[Rater]
    figures: list[Figure]
    notes: list[str]
    guessing: float

    @property
    def kept(self) -> int:
        """How many raters count."""
        return sum(rater.kept for rater in self.raters)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "study": str(self.folder),
            "raters_are": "people, by name, as whoever ran the study named them",
            "design": self.design.to_json(),
            "kept": self.kept,
            "left_out": len(self.raters) - self.kept,
            "rule": RULE,
            "guessing_passes": self.guessing,
            "raters": [asdict(rater) for rater in self.raters],
            "figures": [asdict(figure) for figure in self.figures],
            "notes": self.notes,
        }


def results(folder: Path | str) -> Results:
    """The statistics of a study's answers so far; written to its ``results.json`` and ``report.html``.

    Raises:
        RunFolderError: there is no study.
        CorruptFile: it cannot be read.
        SaveFailed: the disk is full or not writable.
    """
    study = Study.open(folder)
    answers = study.answers()
    raters = _raters(study, answers)
    kept = {rater.name for rater in raters if rater.kept}
    seen = _Seen.of(study, [answer for answer in answers if answer.rater in kept])
    figures = _figures(study.design, seen) if seen.trials else []
    found = Results(
        study.folder,
        study.design,
        raters,
        [*figures, *_checks(raters)],
        _notes(study.design, raters, figures),
        guessing_passes([t for t in study.trials if t.role in CATCHES], study.design, PASSING),
    )
    try:
        text = json.dumps(found.to_json(), ensure_ascii=False, indent=1)
        (study.folder / "results.json").write_text(text, encoding="utf-8")
        (study.folder / "report.html").write_text(render(found), encoding="utf-8")
    except OSError as error:
        raise SaveFailed(f"could not write the results: {error}", cure="free some disk space") from None
    return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """Answers to rated trials, one an entry: the systems shown, what was said, and the numbers of rater and set."""

    trials: list[Trial]
    systems: list[tuple[str, ...]]
    choices: list[str]
    raters: np.ndarray
    sets: np.ndarray
    firsts: list[bool]
    seed: int

    @classmethod
    def of(cls, study: Study, answers: Sequence[Answer]) -> _Seen:
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


def _raters(study: Study, answers: Sequence[Answer]) -> list[Rater]:
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


def _figures(design: Design, seen: _Seen) -> list[Figure]:
    of_task = {Task.LIKERT: _likert, Task.PAIRS: _pairs, Task.REAL: _real}[design.task]
    found = of_task(design, seen)
    everything = np.ones(len(seen.trials), dtype=bool)
    agreed = statistics.agreement(_said(design, seen), design.task, seen.seed)
    if agreed is not None:
        level = "ordinal" if design.task is Task.LIKERT else "nominal"
        method = "95 %, percentiles of 1,000 resamples of items"
        found.append(seen.figure(everything, f"krippendorff_alpha_{level}", "", *agreed, method))
    if design.task is not Task.LIKERT:
        first = np.array(
            [0.5 if choice == TIE else float(f) for choice, f in zip(seen.choices, seen.firsts, strict=True)]
        )
        found.append(_share(seen, everything, "first_side", "", first))
    return found


def _said(design: Design, seen: _Seen) -> Mapping[tuple[int, int], float]:
    """(rater, trial) to a number: the rating, or which of the pieces."""
    trials = _numbers([trial.key for trial in seen.trials])
    numbers = [
        float(choice) if design.task is Task.LIKERT else float([*trial.pieces, TIE].index(choice))
        for trial, choice in zip(seen.trials, seen.choices, strict=True)
    ]
    keys = zip(seen.raters.tolist(), trials.tolist(), strict=True)
    return dict(zip(keys, numbers, strict=True))


def _likert(design: Design, seen: _Seen) -> list[Figure]:
    values = np.array([float(choice) for choice in seen.choices])
    of = np.array([systems[0] for systems in seen.systems])
    found = []
    for system in design.systems:
        mask = of == system
        if mask.any():
            value, interval = statistics.mean(values[mask], *seen.where(mask), seen.seed)
            spread = {n: int((values[mask] == n).sum()) for n in range(1, 6)}
            found.append(
                seen.figure(mask, "mean_rating", system, value, interval, _BOOTSTRAP, detail={"ratings": spread})
            )
    for one, two in combinations(design.systems, 2):
        mask = (of == one) | (of == two)
        if len(set(of[mask])) == 2 and mask.sum() > 2:
            value, interval = statistics.difference(of[mask] == one, values[mask], *seen.where(mask), seen.seed)
            found.append(seen.figure(mask, "rating_difference", f"{one} less {two}", value, interval, _BOOTSTRAP))
    return found


def _pairs(design: Design, seen: _Seen) -> list[Figure]:
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


def _ranking(design: Design, seen: _Seen, wins: np.ndarray) -> list[Figure]:
    """Bradley-Terry, and what it comes to: the chance to be preferred to one of the others."""
    lefts, rights = (list(side) for side in zip(*seen.systems, strict=True))

    def fitted(weights: np.ndarray) -> np.ndarray:
        return statistics.strengths(lefts, rights, wins, design.systems, weights)

    def both(weights: np.ndarray) -> np.ndarray:
        logs = fitted(weights)
        return np.stack([logs, statistics.beats(logs)])

    value = both(np.ones(len(wins)))
    low, high = statistics.resampled(seen.raters, seen.sets, seen.seed, both)
    everything = np.ones(len(wins), dtype=bool)
    method = f"{_BOOTSTRAP}; Bradley-Terry by evalica, one drawn comparison of every pair added"
    return [
        seen.figure(everything, name, system, float(value[row, n]), (float(low[row, n]), float(high[row, n])), method)
        for row, name in enumerate(("log_strength", "preferred_to_others"))
        for n, system in enumerate(design.systems)
    ]


def _real(design: Design, seen: _Seen) -> list[Figure]:
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
        interval = statistics.exact(share, count)
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


def _share(seen: _Seen, mask: np.ndarray, name: str, of: str, values: np.ndarray, **more: Any) -> Figure:
    count = statistics.effective(values, *seen.where(mask))
    share = float(values.mean())
    return seen.figure(mask, name, of, share, statistics.wilson(share, count), _WILSON, **more)


def _win(trial: Trial, choice: str) -> float:
    return 0.5 if choice == TIE else float(choice == trial.pieces[0])


def _checks(raters: Sequence[Rater]) -> list[Figure]:
    """How often raters who count answered a repeated trial as before."""
    kept = [rater for rater in raters if rater.kept and rater.repeats]
    count = sum(rater.repeats for rater in kept)
    if not count:
        return []
    share = sum(rater.same for rater in kept) / count
    method = "95 %, Wilson; answers taken as independent"
    return [Figure("same_when_repeated", "", share, statistics.wilson(share, count), count, count, len(kept), method)]


def _notes(design: Design, raters: Sequence[Rater], figures: Sequence[Figure]) -> list[str]:
    kept = [rater for rater in raters if rater.kept]
    notes = [f"{len(kept)} of {len(raters)} raters count: {RULE}."]
    if not figures:
        notes.append("No answers that count yet.")
    if figures and len(kept) < _FEW_RATERS:
        of = "one rater: intervals are over items alone" if len(kept) == 1 else f"{len(kept)} raters"
        notes.append(f"From {of}, which says little about what other people would answer.")
    unfinished = sum(rater.answered < rater.trials for rater in kept)
    if unfinished:
        notes.append(f"{unfinished} of the raters who count have not finished.")
    if design.items < design.requested:
        notes.append(f"{design.items} sets of items of like length were found, of {design.requested} asked for.")
    return notes
