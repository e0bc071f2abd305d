"""How much generated texts or music are made of what real ones are made of, in the order of real ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse

from miaobi.errors import Unsupported
from miaobi.evaluation.metrics import _note_counts, _word_counts
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import around
from miaobi.evaluation.metrics._words import is_text, one_line, tokenizer_of, words
from miaobi.evaluation.records import Direction, Score
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_LEAST = "least_overlap"
_GROUPS = 100
_Counts = Sequence[sparse.csr_matrix]
"""Of each statistic, how often an item (row) has each thing (column)."""


class Statistics(Metric):
    """Overlap, 0 to 1, of the frequencies of words or notes and of what follows what, generated against held-out.

    Of all items of a side together. ``least_overlap`` is the smallest of them, each over what real data reaches (about
    1): content whose parts are right one by one but follow each other at random falls in one of them, and so does
    content that follows from step to step without keeping to anything. Noise is low in all, a constant item in most;
    samples copied from the training part reach the floor, which `memorization` tells.

    Pitfall: what is said is not looked at, nor what is farther apart than sixteen words or two notes.
    """

    figures: ClassVar[dict[str, Direction]] = dict.fromkeys(
        (_LEAST, *_word_counts.UNITS, *_note_counts.UNITS), Direction.HIGHER
    )
    paper: ClassVar[str] = (
        'histogram intersection as in Swain and Ballard 1991, "Color Indexing"; of music, features of Yang and Lerch '
        '2020, "On the evaluation of generative models in music", without their kernel density estimates'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})
    libraries: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse what is neither text nor music, before any work."""
        super().check(family, modality)
        if not is_text(modality.shown) and modality.shown.name != "music":
            raise Unsupported("statistics are of words and notes", given=modality.name, cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        """``least_overlap`` and the three of texts, or the five of music."""
        units = _word_counts.UNITS if is_text(context.modality) else _note_counts.UNITS
        sides = [
            _counted(context, items) for items in (context.generated_items, context.real_items, _training(context))
        ]
        generated, real, training = _matrices(sides, len(units))
        everything = np.ones(context.count)
        reached = _overlaps(training, real, np.ones(len(sides[2])), everything)
        values = _figures(units, _overlaps(generated, real, everything, everything), reached)
        floors = _figures(units, reached, reached)
        errors = {} if context.brief else _errors(units, generated, real, reached)
        return {name: self._score(context, name, units, values, errors, floors) for name in values}

    def _score(
        self,
        context: Context,
        figure: str,
        units: Mapping[str, str],
        values: Mapping[str, float],
        errors: Mapping[str, float],
        floors: Mapping[str, float],
    ) -> Score:
        protocol = self.stamp(
            figure,
            context.sample_stamp(),
            unit=f"intersection, 0 to 1, of frequencies of {units[figure]}"
            if figure in units
            else f"the smallest of {', '.join(units)}, each over its floor",
            interval_method=f"95 %, jackknife leaving out an item (or one of {_GROUPS} groups) of both sides, "
            "given the floors",
            floor_method="the same figure of as many training items in the samples' place",
            floor_samples=len(context.training_rows),
        )
        groups = min(context.count, _GROUPS)
        interval = around(values[figure], errors[figure], groups - 1) if figure in errors else None
        return Score(values[figure], interval, floors[figure], protocol)


def _training(context: Context) -> list[Any]:
    decoded = context.decoded(context.prepared.train, context.training_rows)
    return [item for _, items in decoded for item in items]


def _counted(context: Context, items: Sequence[Any]) -> list[list[Counter[Any]]]:
    if not is_text(context.modality):
        return [_note_counts.counted(item) for item in items]
    tokenizer = tokenizer_of(context.modality, context.real_items)
    return [_word_counts.counted(line) for line in words([one_line(item) for item in items], tokenizer)]


def _matrices(sides: Sequence[Sequence[Sequence[Counter[Any]]]], count: int) -> list[_Counts]:
    """Each side's counts, all sides over the same columns."""
    found: list[list[sparse.csr_matrix]] = [[] for _ in sides]
    for index in range(count):
        places: dict[Any, int] = {}
        for side in sides:
            for item in side:
                for thing in item[index]:
                    places.setdefault(thing, len(places))
        for matrices, side in zip(found, sides, strict=True):
            matrices.append(_matrix([item[index] for item in side], places))
    return list(found)


def _matrix(rows: Sequence[Counter[Any]], places: Mapping[Any, int]) -> sparse.csr_matrix:
    values = [float(count) for row in rows for count in row.values()]
    columns = [places[thing] for row in rows for thing in row]
    ends = np.cumsum([0, *map(len, rows)])
    return sparse.csr_matrix((values, columns, ends), shape=(len(rows), max(1, len(places))))


def _overlaps(left: _Counts, right: _Counts, of_left: np.ndarray, of_right: np.ndarray) -> list[float]:
    """The intersection of each statistic, items weighed 1 or 0."""
    return [
        float(np.minimum(_shares(of_left @ a), _shares(of_right @ b)).sum()) for a, b in zip(left, right, strict=True)
    ]


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / max(float(counts.sum()), 1.0)


def _figures(units: Mapping[str, str], overlaps: Sequence[float], reached: Sequence[float]) -> dict[str, float]:
    # What even real data does not share (two short parts may have no pair in common) tells nothing.
    told = [value / most for value, most in zip(overlaps, reached, strict=True) if most > 0]
    return {_LEAST: min(told, default=0.0), **dict(zip(units, overlaps, strict=True))}


def _errors(units: Mapping[str, str], left: _Counts, right: _Counts, reached: Sequence[float]) -> dict[str, float]:
    """Standard errors by the grouped jackknife (Efron and Tibshirani 1993, chapter 11; Shao and Tu 1995)."""
    count = left[0].shape[0]
    groups = min(count, _GROUPS)
    if groups < 2:
        return {}
    found = []
    for group in range(groups):
        kept = (np.arange(count) % groups != group).astype(np.float64)
        found.append(_figures(units, _overlaps(left, right, kept, kept), reached))
    columns = {name: np.array([one[name] for one in found]) for name in found[0]}
    return {
        name: math.sqrt((groups - 1) / groups * float(((column - column.mean()) ** 2).sum()))
        for name, column in columns.items()
    }
