"""How pieces of music are spread in pitch, rhythm and harmony, generated beside held-out ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field as Value
from scipy.spatial.distance import cdist

from miaobi.errors import DataError, Unsupported
from miaobi.evaluation.context import spaced
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._densities import Densities, densities
from miaobi.evaluation.metrics._intervals import around
from miaobi.evaluation.metrics._note_features import FEATURES, table
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality

_LEAST, _SPREAD = "least_area", "least_spread"
_GROUPS = 50
_AREAS = {f"{name}_area": name for name in FEATURES}


class NoteStatistics(Metric):
    """Overlap, 0 to 1, of the densities of seven figures of a piece, and how much pieces differ from each other.

    `statistics` counts the notes of all pieces together; here each piece is one point: its range, notes a quarter, time
    between onsets, length of notes, steps of its voices, and consonance. The area is what both sides' kernel density
    estimates share; a piece that has no such figure (a lone note has no step) shares only with one that has none.
    Pitch classes are a vector, so their area is of distances: those among held-out pieces, and those from generated
    to held-out ones. ``least_area`` is the smallest. ``least_spread`` is the smallest ratio of the mean distance
    among generated pieces to that among held-out ones: 0 of a model that always makes one piece.

    Pitfalls. Each figure is blind to the order of notes and to the others: shuffled pieces keep several of them.
    Held-out pieces in many keys make pitch classes easy. Copies of training pieces reach the floor.
    """

    class Config(Settings):
        """The metric's options."""

        most: int = Value(500, ge=2, le=2000, description="pieces looked at, evenly spaced; distances are of all pairs")

    figures: ClassVar[dict[str, Direction]] = {
        **dict.fromkeys((_LEAST, *_AREAS), Direction.HIGHER),
        _SPREAD: Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'Yang and Lerch 2020, "On the evaluation of generative models in music", with one bandwidth for both sides'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})
    libraries: ClassVar[tuple[str, ...]] = ("scipy",)

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the target is not music.
        """
        super().check(family, modality)
        if modality.shown.name != "music":
            raise Unsupported("note statistics are of music", given=modality.shown.name, cure="leave the metric out")

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: fewer than two held-out pieces with notes.
        """
        rows = spaced(context.count, self.config.most)
        real = table([context.real_items[row] for row in rows])
        if (~np.isnan(real["pitch_range"])).sum() < 2:
            raise DataError("note statistics need at least two held-out pieces with notes", given=len(rows))
        found = _Sides(table([context.generated_items[row] for row in rows]), real)
        floor = None if context.brief else _Sides(table(_training(context, len(rows))), real).figures()
        errors = {} if context.brief else _errors(found)
        groups = min(found.count, _GROUPS)
        return {
            figure: Score(
                value,
                around(value, errors[figure], groups - 1) if figure in errors else None,
                None if floor is None else floor[figure],
                self._protocol(context, figure, found, len(rows)),
            )
            for figure, value in found.figures().items()
        }

    def _protocol(self, context: Context, figure: str, found: _Sides, count: int) -> Protocol:
        return self.stamp(
            figure,
            context.sample_stamp(),
            samples=count,
            unit=f"shared area of densities of {FEATURES[_AREAS[figure]].unit}" if figure in _AREAS else _OTHER[figure],
            preprocessing="drums left out",
            interval_method=f"95 %, jackknife leaving out a piece (or one of {_GROUPS} groups) of both sides",
            floor_method="training pieces in place of generated ones",
            floor_samples=min(count, len(context.training_rows)),
            detail=found.detail(_AREAS[figure]) if figure in _AREAS else {},
        )


_OTHER = {
    _LEAST: f"the smallest of {', '.join(_AREAS)}",
    _SPREAD: "mean distance among generated pieces over that among held-out ones, of the feature with the smallest",
}


class _Sides:
    """Features of generated and of held-out pieces, ``float64 [count, width]`` each, NaN where a piece has none."""

    def __init__(self, generated: dict[str, np.ndarray], real: dict[str, np.ndarray]) -> None:
        self.generated, self.real = generated, real
        self.count = len(real["pitch_range"])
        self._apart = {name: (_Apart(generated[name]), _Apart(real[name])) for name in FEATURES}

    def figures(self, rows: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """All of them, of some rows of both sides."""
        areas = {figure: self._compared(name, rows).area for figure, name in _AREAS.items()}
        spreads = [self._spread(name, rows) for name in FEATURES]
        least = min((ratio for ratio in spreads if ratio is not None), default=0.0)
        return {_LEAST: min(areas.values()), **areas, _SPREAD: least}

    def detail(self, name: str) -> dict[str, Any]:
        """Divergence, and the paper's figures of distances, for the protocol."""
        left, right = self.generated[name], self.real[name]
        means = [side.mean() for side in self._apart[name]]
        found = {
            "divergence": self._compared(name).divergence,
            "intra_set_distance": means[0],
            "held_out_intra_set_distance": means[1],
        }
        if right.shape[1] == 1:
            apart = _of_distances(left, right, FEATURES[name].least)
            found |= {"distance_area": apart.area, "distance_divergence": apart.divergence}
        return found

    def _compared(self, name: str, rows: np.ndarray | slice = slice(None)) -> Densities:
        left, right = self.generated[name][rows], self.real[name][rows]
        if right.shape[1] > 1:
            return _of_distances(left, right, FEATURES[name].least)
        return densities(left[:, 0], right[:, 0], FEATURES[name].least)

    def _spread(self, name: str, rows: np.ndarray | slice) -> float | None:
        """``None`` where held-out pieces do not differ."""
        generated, real = (side.mean(rows) for side in self._apart[name])
        return (generated or 0.0) / real if real else None


class _Apart:
    """Distances among pieces that have a feature."""

    def __init__(self, features: np.ndarray) -> None:
        self._known = ~np.isnan(features[:, 0])
        self._distances = np.nan_to_num(cdist(features, features))

    def mean(self, rows: np.ndarray | slice = slice(None)) -> float | None:
        """Over all pairs of some pieces; ``None`` of fewer than two."""
        chosen = np.zeros(len(self._known))
        chosen[rows] = self._known[rows]
        count = chosen.sum()
        return float(chosen @ self._distances @ chosen / (count * (count - 1))) if count > 1 else None


def _errors(sides: _Sides) -> dict[str, float]:
    """Standard errors by the grouped jackknife (Shao and Tu 1995)."""
    groups = min(sides.count, _GROUPS)
    group = np.arange(sides.count) % groups
    found = [sides.figures(np.flatnonzero(group != one)) for one in range(groups)]
    columns = {name: np.array([one[name] for one in found]) for name in found[0]}
    return {
        name: math.sqrt((groups - 1) / groups * float(((column - column.mean()) ** 2).sum()))
        for name, column in columns.items()
    }


def _of_distances(left: np.ndarray, right: np.ndarray, least: float) -> Densities:
    """The paper's comparison: distances from one set to the other beside those within the other."""
    within = cdist(right, right)[np.triu_indices(len(right), 1)]
    return densities(cdist(left, right).ravel(), within, least)


def _training(context: Context, count: int) -> list[Any]:
    rows = [context.training_rows[i] for i in spaced(len(context.training_rows), count)]
    return [item for _, items in context.decoded(context.prepared.train, rows) for item in items]
