"""Memorisation: are generated items nearer to training items than held-out ones are?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.evaluation import extractors
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._copies import CUT, floor_of
from miaobi.evaluation.metrics._intervals import of_mean, share
from miaobi.evaluation.metrics._nearest_training import Found, nearest_training, training_item
from miaobi.evaluation.metrics._words import bound_to_tokens
from miaobi.evaluation.records import Direction, Pair, Protocol, Score
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


class Memorization(Metric):
    """The share of samples nearer to their nearest training item than all but a hundredth of held-out items are.

    About 0.01 (the floor is measured) where nothing is memorised. Distances are of pixels for images (near-copies are
    sought, not likeness), and of n-grams for texts and other token sequences: one less the share of a sample's n-grams
    that its nearest training item has. Every training item is looked at, a batch at a time; windows of a stream
    together with the next one, so that a copy across a border is seen whole.
    """

    class Config(Settings):
        """The metric's options."""

        percentile: float = Value(1.0, gt=0, lt=50, description="of held-out distances; below it counts as copied")
        order: int = Value(
            5, ge=1, le=50, description="n-gram order for token sequences: characters of a text, or tokens"
        )
        pairs: int = Value(8, ge=0, le=100, description="nearest pairs kept for the report")

    figures: ClassVar[dict[str, Direction]] = {
        "copied_share": Direction.LOWER,
        "training_distance": Direction.NEITHER,
        "longest_copy": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'nearest-neighbour test after Meehan et al. 2020, "A Non-Parametric Test to Detect Data-Copying"'
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR, Form.TOKENS})
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse tensors that no features are named for, before any work."""
        super().check(family, modality)
        if modality.shown.form is Form.TENSOR:
            extractors.choose(modality.shown.copy_extractor, modality)

    def compute(self, context: Context) -> dict[str, Score]:
        """``copied_share``, mean ``training_distance``, and of token sequences mean ``longest_copy`` in elements."""
        found = nearest_training(context, self.config.order)
        held, generated = found.distances[: context.count], found.distances[context.count :]
        scores = {"copied_share": self._share(context, held, generated, found)}
        scores["training_distance"] = self._mean(context, "training_distance", held, generated, found)
        if found.copies is not None:
            halves = found.copies[: context.count], found.copies[context.count :]
            scores["longest_copy"] = self._mean(context, "longest_copy", *halves, found)
        return scores

    def _share(self, context: Context, held: np.ndarray, generated: np.ndarray, found: Found) -> Score:
        limit = float(np.percentile(held, self.config.percentile))
        copied = int((generated <= limit).sum())
        protocol = self._protocol(context, "copied_share", found) | Protocol(
            interval_method="95 %, Wilson, given the held-out items",
            floor_method="held-out items against the limit of the other half of them, both ways",
            detail={
                "percentile": self.config.percentile,
                "limit": limit,
                "training_items": found.training,
                **({} if found.cut is None else {CUT: float((found.cut <= limit).mean())}),
            },
        )
        pairs = self._pairs(context, generated, found)
        return Score(
            copied / len(generated),
            share(copied, len(generated)),
            floor_of(held, self.config.percentile),
            protocol,
            pairs,
        )

    def _mean(self, context: Context, figure: str, held: np.ndarray, generated: np.ndarray, found: Found) -> Score:
        protocol = self._protocol(context, figure, found) | Protocol(
            interval_method="95 %, Student's t over samples",
            floor_method="the same figure of the held-out items",
            detail={"training_items": found.training},
        )
        return Score(float(generated.mean()), of_mean(generated.tolist()), float(held.mean()), protocol)

    def _protocol(self, context: Context, figure: str, found: Found) -> Protocol:
        return self.stamp(
            figure,
            context.sample_stamp() | found.protocol,
            tokenizer_bound=bound_to_tokens(context.modality),
            floor_samples=context.count,
        )

    def _pairs(self, context: Context, generated: np.ndarray, found: Found) -> tuple[Pair, ...]:
        order = np.argsort(generated, kind="stable")[: self.config.pairs].tolist()
        items = [training_item(context, int(found.where[context.count + i])) for i in order]
        return tuple(
            Pair(context.generated_items[i], item, float(generated[i])) for i, item in zip(order, items, strict=True)
        )
