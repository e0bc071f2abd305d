"""Memorisation: are generated items nearer to training items than held-out ones are?"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.evaluation import extractors
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._copies import BY_CHANCE, MOSTLY, Judged, judge
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

    About 0.01 (the floor is measured) where nothing is memorised; ``near_share`` asks the same of a twentieth, and is
    high where all is copied with changes. Of texts and music the nearest is the training item that has most of a
    sample's n-grams, of letters and digits (case, blanks and marks hide no copy) or of notes by interval and length
    (transposing hides none); a copy is what has half of it or more in its order, whatever stands between. Short samples
    are measured by held-out items cut to their length. Of images distances are of pixels, and beside them counts how
    much nearer the nearest training item is than the next one, which noise and fading leave alone. Every training item
    is looked at; windows of a stream together with the next one, so that a copy across a border is seen whole.

    Pitfalls. Half of one item escapes it (`pasting` and `stitching` look for that), and so do paraphrase, moved and
    mirrored pictures, and changed copies of a picture that the training data holds twice.
    """

    class Config(Settings):
        """The metric's options."""

        percentile: float = Value(1.0, gt=0, lt=50, description="of held-out distances; below it counts as copied")
        near: float = Value(5.0, gt=0, lt=50, description="of held-out distances; below it counts as near")
        order: int | None = Value(
            None, ge=1, le=50, description="of n-grams; default: 5, of scripts without blanks between words 3"
        )
        pairs: int = Value(8, ge=0, le=100, description="nearest pairs kept for the report")

    figures: ClassVar[dict[str, Direction]] = {
        "copied_share": Direction.LOWER,
        "near_share": Direction.LOWER,
        "training_distance": Direction.NEITHER,
        "longest_copy": Direction.NEITHER,
    }
    paper: ClassVar[str] = (
        'nearest-neighbour test after Meehan et al. 2020, "A Non-Parametric Test to Detect Data-Copying"; nearest '
        'against second-nearest as Lowe 2004, "Distinctive Image Features from Scale-Invariant Keypoints"'
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
        """The shares, mean ``training_distance``, and of token sequences mean ``longest_copy`` in elements."""
        found = nearest_training(context, self.config.order)
        scores = {
            figure: self._share(context, figure, percentile, found)
            for figure, percentile in (("copied_share", self.config.percentile), ("near_share", self.config.near))
        }
        scores["training_distance"] = self._mean(context, "training_distance", found.distances, found)
        if found.copies is not None:
            scores["longest_copy"] = self._mean(context, "longest_copy", found.copies, found)
        return scores

    def _share(self, context: Context, figure: str, percentile: float, found: Found) -> Score:
        judged = _judged(found, context.count, percentile)
        copied = int(judged.copied.sum())
        protocol = self._protocol(context, figure, found) | Protocol(
            interval_method="95 %, Wilson, given the held-out items",
            floor_method="held-out items, cut to the samples' lengths, against the limit of the other half of them",
            detail={
                "percentile": percentile,
                "limits": {str(length): limit for length, limit in judged.limits.items()},
                "training_items": found.training,
                BY_CHANCE: judged.by_chance,
            },
        )
        pairs = self._pairs(context, found) if figure == "copied_share" else ()
        interval = share(copied, len(judged.copied))
        return Score(copied / len(judged.copied), interval, judged.floor, protocol, pairs)

    def _mean(self, context: Context, figure: str, values: np.ndarray, found: Found) -> Score:
        held, generated = values[: context.count], values[context.count : 2 * context.count]
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

    def _pairs(self, context: Context, found: Found) -> tuple[Pair, ...]:
        generated = found.distances[context.count : 2 * context.count]
        order = np.argsort(generated, kind="stable")[: self.config.pairs].tolist()
        items = [training_item(context, int(found.where[context.count + i])) for i in order]
        return tuple(
            Pair(context.generated_items[i], item, float(generated[i])) for i, item in zip(order, items, strict=True)
        )


def _judged(found: Found, count: int, percentile: float) -> Judged:
    """Which of ``count`` samples are nearer than that percentile of held-out items of their length."""
    held, generated, cut = np.split(found.nearness, [count, 2 * count])
    if found.lengths is None:
        return judge(generated, np.zeros(count), {0: held}, percentile)
    return judge(generated, found.lengths.of_samples, found.lengths.split(cut), percentile, most=MOSTLY)
