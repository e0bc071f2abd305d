"""The held-out figure of a run: on validation, never on test, and small beside the training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from miaobi.errors import Diverged
from miaobi.evaluation import Direction, check, held_out
from miaobi.families import Family
from miaobi.modalities import Modality
from miaobi.recipe import Recipe
from miaobi.training.assembly import Assembly

EVALUATIONS = 20
"""Evaluations in a run, where the recipe does not say and they are not slow."""
LIKELIHOOD_ITEMS = 1024
LEAST_ITEMS = 128
ITEM_NUMBERS = 10**10
"""Numbers of a model times items of a look at its likelihood: of a large model fewer items are looked at."""
SAMPLES = 500


@dataclass(frozen=True)
class HeldOut:
    """A held-out figure; ``lower`` is better, or higher."""

    figure: str
    value: float
    lower: bool

    def beats(self, other: float, margin: float) -> bool:
        """Whether this is better than ``other`` by more than ``margin``."""
        gain = other - self.value if self.lower else self.value - other
        return gain > margin


def require(recipe: Recipe, family: Family, modality: Modality) -> None:
    """Check before any work that the family's own figure, and those of the recipe, can be measured.

    Raises:
        RequestError: an unknown figure, one that does not apply, or a missing extra.
    """
    metrics = [family.metric(modality.form), *recipe.evaluate.metrics]
    check(list(dict.fromkeys(metrics)), family, modality, recipe.evaluate.extractor, recipe.evaluate.options)


def evaluate(assembly: Assembly) -> HeldOut | None:
    """The family's own figure of the weights that would be shipped now; ``None`` without a validation part.

    The items and seeds are the same at every call, so that figures of one run compare. A model that gives NaN or
    infinity gets a NaN, which beats nothing.
    """
    recipe, prepared = assembly.recipe, assembly.prepared
    if not len(prepared.validation):
        return None
    metric = assembly.family.metric(prepared.target.form)
    count = min(_count(metric, recipe, assembly.family.size), len(prepared.validation))
    options: dict[str, Any] = {
        "seed": recipe.seed,
        "extractor": recipe.evaluate.extractor,
        "controls": recipe.evaluate.control,
        "options": recipe.evaluate.options,
    }
    try:
        with assembly.resting() as family:
            figure, value, direction = held_out(family, prepared, metric, count=count, **options)
    except Diverged:
        return HeldOut(metric, math.nan, lower=True)
    return HeldOut(figure, float(value), direction is Direction.LOWER)


def _count(metric: str, recipe: Recipe, size: int) -> int:
    if metric.partition(".")[0] == "likelihood":
        return min(LIKELIHOOD_ITEMS, max(LEAST_ITEMS, ITEM_NUMBERS // max(1, size)))
    return min(SAMPLES, recipe.evaluate.samples)
