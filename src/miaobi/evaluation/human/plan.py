"""Which trials a study has, and in which order and on which sides each rater sees them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import torch

from miaobi.evaluation.human.media import opaque, secret
from miaobi.evaluation.human.records import POINTS, REAL, TIE, Design, Piece, Role, Task, Trial
from miaobi.sampling.noise import integers, seeds_of, uniform

FEWEST_CATCHES = 6
EXTRA_SHARE = 0.1
"""Catch trials, and repeated ones, for each trial that is rated."""
_BROKEN_AT_MOST = "<=2"


@dataclass(frozen=True, slots=True)
class Shown:
    """A trial as one rater sees it.

    Attributes:
        id: opaque, another for each rater.
        trial: what it is.
        pieces: its pieces' ids in the order of the sides.
    """

    id: str
    trial: Trial
    pieces: tuple[str, ...]


def rated(design: Design, sets: Sequence[Mapping[str, Piece]]) -> list[Trial]:
    """The trials that estimates come from.

    Args:
        design: of the study.
        sets: for each set of matched items, the piece of each system.
    """
    shown = [(number, pieces) for number, found in enumerate(sets) for pieces in _shown(design, found, number)]
    return [Trial(f"t{key:05d}", Role.RATED, pieces, set=number) for key, (number, pieces) in enumerate(shown)]


def _shown(design: Design, found: Mapping[str, Piece], number: int) -> Iterator[tuple[str, ...]]:
    models = [system for system in design.systems if system != REAL]
    if design.task is Task.LIKERT:
        yield from ((found[system].id,) for system in design.systems)
    elif design.task is Task.PAIRS:
        yield from ((found[one].id, found[two].id) for one, two in combinations(design.systems, 2))
    else:
        # A real item is seen once: one seen twice would be known again.
        yield found[models[number % len(models)]].id, found[REAL].id


def extras(design: Design, trials: Sequence[Trial], broken: Sequence[tuple[Piece, Piece]]) -> list[Trial]:
    """Catch trials and repeats.

    Args:
        design: of the study.
        trials: the rated ones.
        broken: an intact item and its broken self, for catch trials of that kind; none: attention checks only.
    """
    wanted = catches(len(trials))
    kinds = [_broken(design, *pair) for pair in broken[: wanted // 2]]
    checks = [
        Trial(key, Role.INSTRUCTION, pieces, expected)
        for key, pieces, expected in (_instructed(design, n) for n in range(wanted - len(kinds)))
    ]
    named = [replace(trial, key=f"c{number:05d}") for number, trial in enumerate([*kinds, *checks])]
    return [*named, *_repeats(design, trials)]


def catches(trials: int) -> int:
    """How many catch trials a study of so many rated ones has."""
    return max(FEWEST_CATCHES, round(EXTRA_SHARE * trials))


def instructions(design: Design) -> list[Piece]:
    """The pieces that attention checks are made of."""
    texts = (
        {str(n): f"This one checks attention. Please choose {n}." for n in range(1, POINTS + 1)}
        if design.task is Task.LIKERT
        else {
            "this": "This one checks attention. Please choose this side.",
            "other": "This one checks attention. Please choose the other side.",
        }
    )
    return [Piece(_check_id(design, name), "", "instruction", text=text) for name, text in texts.items()]


def order(design: Design, trials: Sequence[Trial], rater: str) -> list[Shown]:
    """All trials in the rater's own order and on the rater's own sides; a repeat comes after what it repeats."""
    seeds = seeds_of(secret(design.salt, "rater", rater), range(len(trials)))
    ranks: list[int] = torch.argsort(uniform(seeds, "order")).tolist()
    flips: list[int] = integers(seeds, "sides", 2).tolist()
    place = {trials[index].key: rank for rank, index in enumerate(ranks)}
    for trial in trials:
        if trial.of and place[trial.key] < place[trial.of]:
            place[trial.key], place[trial.of] = place[trial.of], place[trial.key]
    sides = {trial.key: trial.pieces[:: -1 if flip else 1] for trial, flip in zip(trials, flips, strict=True)}
    # Seen again on the other sides, so that a habit of one side shows.
    sides |= {trial.key: sides[trial.of][::-1] for trial in trials if trial.of}
    return [
        Shown(opaque(design.salt, "trial", rater, trial.key), trial, sides[trial.key])
        for trial in sorted(trials, key=lambda trial: place[trial.key])
    ]


def choices(trial: Trial, design: Design) -> list[str]:
    """What may be answered."""
    if design.task is Task.LIKERT:
        return [str(n) for n in range(1, POINTS + 1)]
    return [*trial.pieces, *([TIE] if design.ties else [])]


def guessing_passes(trials: Sequence[Trial], design: Design, share: float, least: float) -> float:
    """At most how probable it is that random answers are right in ``share`` of the catch trials that were answered.

    Whoever gives them may stop at any time after ``least`` of all, and so where it looks best. Every trial is taken to
    be as easily guessed as the easiest.

    Args:
        trials: the catch trials.
        design: of the study.
        share: of those answered.
        least: share of all.
    """
    allowed = [(trial, choices(trial, design)) for trial in trials]
    right = max((sum(map(trial.passed, found)) / len(found) for trial, found in allowed), default=1.0)
    passed, odds = 0.0 if trials else 1.0, np.ones(1)
    for answered in range(1, len(trials) + 1):
        odds = np.append(odds * (1 - right), 0.0) + np.insert(odds * right, 0, 0.0)
        if answered >= least * len(trials):
            enough = math.ceil(share * answered - 1e-9)
            passed += float(odds[enough:].sum())
            odds[enough:] = 0
    return passed


def _broken(design: Design, intact: Piece, broken: Piece) -> Trial:
    if design.task is Task.LIKERT:
        return Trial("", Role.BROKEN, (broken.id,), _BROKEN_AT_MOST)
    return Trial("", Role.BROKEN, (intact.id, broken.id), intact.id)


def _instructed(design: Design, number: int) -> tuple[str, tuple[str, ...], str]:
    if design.task is Task.LIKERT:
        wanted = str(1 + int(integers(seeds_of(design.seed, [number]), "instruction", POINTS)[0]))
        return "", (_check_id(design, wanted),), wanted
    this = _check_id(design, "this")
    return "", (this, _check_id(design, "other")), this


def _check_id(design: Design, name: str) -> str:
    return opaque(design.salt, "check", name)


def _repeats(design: Design, trials: Sequence[Trial]) -> Iterator[Trial]:
    wanted = max(1, round(EXTRA_SHARE * len(trials)))
    chosen = torch.argsort(uniform(seeds_of(design.seed, range(len(trials))), "repeats"))[:wanted].tolist()
    for number, row in enumerate(sorted(chosen)):
        yield replace(trials[row], key=f"r{number:05d}", role=Role.REPEAT, of=trials[row].key)
