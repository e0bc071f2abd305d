"""Nearest neighbours: generated items beside the training items that are most like them, and held-out ones likewise."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from miaobi.errors import Unsupported
from miaobi.evaluation.context import Context
from miaobi.evaluation.metrics._nearest_training import Found, nearest_training, training_item
from miaobi.evaluation.metrics.memorization import Memorization
from miaobi.evaluation.records import Pair
from miaobi.evaluation.report import Section, neighbours
from miaobi.evaluation.understanding._base import Finding, View
from miaobi.evaluation.understanding._pictures import heading, paragraph, table
from miaobi.modalities import Item
from miaobi.models import Model
from miaobi.types import Form

_HOW = (
    "Every training item was looked at. Held-out items were never trained on, so how near they lie to training items "
    "is the yardstick: generated items that lie much nearer are copied. These few items show what likeness means here; "
    "the metric memorization measures it over many."
)


class Neighbours(View):
    """Generated and held-out items, each beside its nearest training item."""

    title: ClassVar[str] = "Nearest training items"
    paper: ClassVar[str] = 'Meehan, Chaudhuri and Dasgupta 2020, "A non-parametric test to detect data-copying"'

    @classmethod
    def check(cls, model: Model) -> None:
        if model.modality.shown.form is Form.LABEL:
            raise Unsupported("what is generated is a class, and classes have no neighbours")
        Memorization.check(model.family, model.modality)

    def look(self, context: Context) -> Finding:
        found = nearest_training(context)
        held, made = found.distances[: context.count], found.distances[context.count : 2 * context.count]
        unit = found.protocol["unit"].partition(";")[0]
        if context.modality.form is Form.TOKENS:
            unit = f"1 less the share of {unit} that are found there"
        rows = [
            (name, float(np.min(part)), float(np.median(part)), float(np.max(part)))
            for name, part in (("held-out items", held), ("generated items", made))
        ]
        modality = context.modality
        shown = neighbours("", _pairs(context, found, context.count, context.generated_items), modality).body
        beside = neighbours("", _pairs(context, found, 0, context.real_items), modality, kind="held out").body
        body = (
            paragraph(_HOW)
            + table(("", "nearest", "median", "farthest"), rows)
            + paragraph(f"Distance: {unit}. {self.paper}.", faint=True)
            + heading("Generated items")
            + shown
            + heading("Held-out items")
            + beside
        )
        figures = {"unit": unit, "held_out": held.tolist(), "generated": made.tolist(), "training": found.training}
        return Finding((Section(self.title, body),), figures)


def _pairs(context: Context, found: Found, first: int, items: list[Item]) -> list[Pair]:
    """Nearest first; ``first``: where these items stand among all that were looked at."""
    distances = found.distances[first : first + len(items)]
    return [
        Pair(items[i], training_item(context, int(found.where[first + i])), float(distances[i]))
        for i in np.argsort(distances, kind="stable").tolist()
    ]
