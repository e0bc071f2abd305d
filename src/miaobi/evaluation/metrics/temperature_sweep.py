"""Quality and variety of generated texts over sampling temperatures: a curve, where one temperature would mislead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value
from pydantic import field_validator

from miaobi.errors import DataError, Unsupported
from miaobi.evaluation.context import Context
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._intervals import LEVEL, Interval, resamples
from miaobi.evaluation.metrics._references import References
from miaobi.evaluation.metrics._words import bound_to_tokens, lines, tokenizer_of
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.plugins import name_of
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.families import Family
    from miaobi.modalities import Modality

_MOST_MISSED = 0.1
"""Share of resamples in which the curve may miss the real variety; beyond it there is no interval."""
_UNITS = {
    "bleu_at_real_variety": "BLEU-4, 0 to 100, of samples against held-out items, where self-BLEU is the latter's",
    "real_variety_temperature": "temperature at which self-BLEU is that of held-out items",
    "curve_gap": "points of BLEU, distance of the curve from real data",
}


class TemperatureSweep(Metric):
    """BLEU-4 of samples against held-out items, and self-BLEU-4 of the samples, at several temperatures.

    A cold model scores high in the first because it repeats itself, a hot one is various because it errs: models
    compare at equal variety. ``bleu_at_real_variety`` is the first where the second is that of as many held-out items,
    interpolated between temperatures, and ``real_variety_temperature`` is where that is; both are left out where the
    curve does not get there. ``curve_gap`` is the curve's distance from the point of real data, training items in the
    samples' place. The whole curve is in the protocol.

    Pitfalls. Copies of training items are real data to it. Both axes rise with the count and depend on the tokenizer,
    which the real texts choose. It draws ``samples`` items once for each temperature, and other controls stay as asked.
    """

    class Config(Settings):
        """The metric's options."""

        temperatures: tuple[float, ...] = Value(
            (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2), min_length=2, max_length=50, description="rising, above 0"
        )
        samples: int = Value(200, ge=2, le=2000, description="at each temperature, at most as many as are held out")

        @field_validator("temperatures")
        @classmethod
        def _rising(cls, values: tuple[float, ...]) -> tuple[float, ...]:
            if not 0 < values[0] <= values[-1] <= 100 or list(values) != sorted(set(values)):
                raise ValueError("temperatures must rise, from above 0 to at most 100")
            return values

    figures: ClassVar[dict[str, Direction]] = {
        "bleu_at_real_variety": Direction.HIGHER,
        "real_variety_temperature": Direction.NEITHER,
        "curve_gap": Direction.LOWER,
    }
    paper: ClassVar[str] = (
        'Caccia et al. 2020, "Language GANs Falling Short"; self-BLEU of Zhu et al. 2018, "Texygen"; BLEU by sacrebleu '
        "(Post 2018)"
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TOKENS})
    libraries: ClassVar[tuple[str, ...]] = ("sacrebleu",)

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """
        Raises:
            Unsupported: the family has no temperature, or the target is not of tokens.
        """
        super().check(family, modality)
        if "temperature" not in type(family).Controls.model_fields:
            raise Unsupported(
                f"the metric {name_of(cls)} changes the temperature",
                given=f"{name_of(type(family))}, which has none",
                cure="leave the metric out",
            )

    def compute(self, context: Context) -> dict[str, Score]:
        """
        Raises:
            DataError: fewer than two held-out items.
            InvalidRecipe: other controls that no temperature goes with, such as a beam.
        """
        first, *more = [self._at(context, temperature) for temperature in self.config.temperatures]
        if first.count < 2:
            raise DataError("self-BLEU needs at least two held-out items", given=first.count)
        real = lines(context.modality, first.real)
        tokenizer = tokenizer_of(context.modality, real)
        held = References(real, tokenizer)
        made = [lines(context.modality, one.generated) for one in (first, *more)]
        curve = Curve(
            np.array(self.config.temperatures),
            np.array([held.scores(texts) for texts in made]),
            np.array([References(texts, tokenizer).leave_one_out() for texts in made]),
        )
        target = _real_point(first, held)
        found = curve.figures(target)
        intervals = {} if context.brief else curve.intervals(target, context.seed)
        floors = {} if context.brief else {"bleu_at_real_variety": target[1], "curve_gap": 0.0}
        return {
            figure: Score(
                value,
                intervals.get(figure),
                floors.get(figure),
                self._protocol(context, figure, curve, target, held.signature()),
            )
            for figure, value in found.items()
            if not np.isnan(value)
        }

    def _at(self, context: Context, temperature: float) -> Context:
        return Context(
            context.model,
            context.prepared,
            part=context.requested_part,
            count=min(context.requested, self.config.samples),
            seed=context.seed,
            controls={**context.controls.to_json(), "temperature": temperature},
            batch_rows=context.batch_rows,
        )

    def _protocol(
        self, context: Context, figure: str, curve: Curve, target: tuple[float, float], signature: str
    ) -> Protocol:
        count = curve.quality.shape[1]
        return self.stamp(
            figure,
            context.sample_stamp(),
            samples=count,
            unit=_UNITS[figure],
            signature=signature,
            tokenizer_bound=bound_to_tokens(context.modality),
            interval_method="95 %, percentiles of 1,000 resamples of samples, what each is compared with staying whole",
            floor_method="as many training items in the samples' place",
            floor_samples=count,
            detail={
                "curve": curve.to_json(),
                "held_out_self_bleu": target[0],
                "training_bleu": target[1],
            },
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """Of each sample at each temperature, ``[T, N]``: BLEU against held-out items, and against its like."""

    temperatures: np.ndarray
    quality: np.ndarray
    sameness: np.ndarray

    def figures(self, target: tuple[float, float], rows: np.ndarray | slice = slice(None)) -> dict[str, float]:
        """Of some samples; NaN where the curve does not reach the target's self-BLEU.

        Args:
            target: self-BLEU of held-out items, and BLEU of training items against them.
            rows: which samples.
        """
        sameness, quality = self.sameness[:, rows].mean(1), self.quality[:, rows].mean(1)
        order = np.argsort(sameness, kind="stable")
        at = [
            float(np.interp(target[0], sameness[order], values[order], left=np.nan, right=np.nan))
            for values in (quality, self.temperatures)
        ]
        points = np.stack([sameness, quality], axis=1)
        return dict(zip(_UNITS, (*at, distance(points, np.array(target))), strict=True))

    def intervals(self, target: tuple[float, float], seed: int) -> dict[str, Interval]:
        """By bootstrap; none of a figure that too many resamples lack."""
        drawn = [self.figures(target, rows) for rows in resamples(self.quality.shape[1], seed)]
        found = {}
        for figure in _UNITS:
            values = np.array([one[figure] for one in drawn])
            if np.isnan(values).mean() <= _MOST_MISSED:
                low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
                found[figure] = float(low), float(high)
        return found

    def to_json(self) -> list[dict[str, float]]:
        """A row a temperature, which a report can draw."""
        columns = (self.temperatures, self.sameness.mean(1), self.quality.mean(1))
        return [
            {"temperature": temperature, "self_bleu": sameness, "bleu": quality}
            for temperature, sameness, quality in zip(*(column.tolist() for column in columns), strict=True)
        ]


def distance(points: np.ndarray, target: np.ndarray) -> float:
    """Of a point ``[2]`` from the line through ``points [T, 2]`` in order, straight between them."""
    steps = np.diff(points, axis=0)
    lengths = (steps**2).sum(1)
    along = ((target - points[:-1]) * steps).sum(1) / np.where(lengths > 0, lengths, 1.0)
    nearest = points[:-1] + np.clip(along, 0, 1)[:, None] * steps
    return float(np.sqrt(((nearest - target) ** 2).sum(1)).min())


def _real_point(context: Context, held: References) -> tuple[float, float]:
    """Self-BLEU of held-out items, and BLEU of as many training items against them."""
    decoded = context.decoded(context.prepared.train, context.training_rows)
    training = [line for arrays, _ in decoded for line in lines(context.modality, arrays)]
    return float(np.mean(held.leave_one_out())), float(np.mean(held.scores(training)))
