"""The recipe's ``tune`` section: what is searched, for how long, and how."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field as Value
from pydantic import model_validator

from miaobi.errors import InvalidRecipe
from miaobi.types import Settings

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

MOST_TRIALS = 10_000
_LARGEST = 1e15
_MOST_STEPS = 1e9


class TuneSettings(Settings):
    """A search. The budget is a trial's; with none a trial trains as long as the recipe says."""

    trials: int = Value(20, ge=1, le=MOST_TRIALS, description="the recipe as it is counts as the first")
    space: dict[str, Any] = Value(
        {}, description="{a.b: {low, high, log, step}} or {a.b: [values]}, a.b as --set has it; default: derived"
    )
    steps: Annotated[int, Value(gt=0, le=10**9)] | None = Value(None, description="of each trial")
    minutes: Annotated[float, Value(gt=0, le=1e5)] | None = Value(
        None, description="of each trial, turned into steps by measuring that trial"
    )
    evaluations: int = Value(10, ge=1, le=1000, description="looks at a trial, after each of which it may be pruned")
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "hyperband", "none"] = "median"
    confirm: int = Value(3, ge=0, le=100, description="further seeds of the best trial and of the recipe as it is")

    @model_validator(mode="after")
    def _one_budget(self) -> TuneSettings:
        if self.steps is not None and self.minutes is not None:
            raise ValueError("give one of steps and minutes, not both")
        return self


class Range(Settings):
    """Numbers from ``low`` to ``high``, both included; whole ones where both are whole."""

    low: int | float
    high: int | float
    log: bool = Value(False, description="even in the logarithm")
    step: int | float | None = Value(None, gt=0, description="only low, low + step, ...")

    @model_validator(mode="after")
    def _spans(self) -> Range:
        if max(abs(self.low), abs(self.high)) > _LARGEST:
            raise ValueError(f"the ends may be at most {_LARGEST:g} away from 0")
        if not self.low < self.high:
            raise ValueError(f"low has to be below high, not {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithm needs a low above 0, not {self.low}")
        if self.log and self.step is not None:
            raise ValueError("give one of log and step, not both")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"the step {self.step} leaps over the whole range")
        if self.step is not None and (self.high - self.low) / self.step > _MOST_STEPS:
            raise ValueError(f"a range has at most {_MOST_STEPS:g} steps, so {self.step} is too small")
        if self.whole and isinstance(self.step, float):
            raise ValueError(f"whole numbers have a whole step, not {self.step}")
        return self

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers only."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def distribution(self) -> IntDistribution | FloatDistribution:
        """What Optuna calls it; a last step that does not fit is left out."""
        from optuna.distributions import FloatDistribution, IntDistribution

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not divisible by `step`")
            if self.whole:
                return IntDistribution(int(self.low), int(self.high), log=self.log, step=int(self.step or 1))
            return FloatDistribution(float(self.low), float(self.high), log=self.log, step=self.step)

    def ends(self) -> list[Any]:
        """The smallest and the largest number that it holds."""
        if self.step is None:
            return [self.low, self.high]
        held = self.distribution()
        return [held.low, held.high]

    def nearest(self, value: Any) -> Any:
        """The number in it that is nearest to ``value``; its lowest where that is no number."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return self.low
        low, high = self.ends()
        held = min(max(value, low), high)
        if self.step is not None:
            # A sum of steps can be rounded to beyond the last.
            return min(low + round((held - low) / self.step) * self.step, high)
        return round(held) if self.whole else float(held)

    def value(self, drawn: Any) -> Any:
        """The setting that Optuna's number stands for."""
        return drawn


@dataclass(frozen=True)
class Choices:
    """One of some values: scalars, or whole lists and sections."""

    values: tuple[Any, ...]

    def distribution(self) -> CategoricalDistribution:
        """What Optuna calls it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.labels)

    @property
    def labels(self) -> list[Any]:
        """What Optuna calls the values, in order."""
        return [_label(value) for value in self.values]

    def ends(self) -> list[Any]:
        """Every value."""
        return list(self.values)

    def nearest(self, value: Any) -> Any:
        """Optuna's name of ``value``; of the first one where it is none of them."""
        return _label(value if value in self.values else self.values[0])

    def value(self, drawn: Any) -> Any:
        """The setting that Optuna's choice stands for."""
        return next(value for value in self.values if _label(value) == drawn)


Space = Mapping[str, Range | Choices]


def parse_space(space: Mapping[str, Any]) -> dict[str, Range | Choices]:
    """The ``space`` of a recipe.

    Raises:
        InvalidRecipe: neither a range nor a list of at least two different values.
    """
    return {path: _parse(given, f"recipe.tune.space.{path}") for path, given in space.items()}


def _parse(given: Any, where: str) -> Range | Choices:
    if isinstance(given, Mapping):
        return Range.parse(given, where)
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InvalidRecipe(
            f"{where} says nothing to search", given=given, allowed="{low, high, log, step}, or a list of values"
        )
    labels = [json.dumps(value, default=str) for value in given]
    if len(set(labels)) < max(2, len(labels)):
        raise InvalidRecipe(f"{where} needs at least two values, each once", given=given)
    return Choices(tuple(given))


def _label(value: Any) -> Any:
    """Optuna takes scalars only, and holds 1 and True for equal: those two are told apart by their text."""
    return json.dumps(value) if isinstance(value, list | dict | bool) else value
