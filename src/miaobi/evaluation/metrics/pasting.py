"""Cut and paste: are generated items nearer to something glued from two training items than held-out ones are?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.errors import Unsupported
from miaobi.evaluation import extractors
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._copies import BY_CHANCE, MOSTLY, Judged, Lengths, judge, training_sequences
from miaobi.evaluation.metrics._intervals import share
from miaobi.evaluation.metrics._neighbours import nearest
from miaobi.evaluation.metrics._overlap import Overlap
from miaobi.evaluation.metrics._words import bound_to_tokens, elements, kind_of_elements
from miaobi.evaluation.records import Direction, Protocol, Score
from miaobi.modalities import Item
from miaobi.types import Form, Settings

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context
    from miaobi.families import Family
    from miaobi.modalities import Modality


class Pasting(Metric):
    """The share of samples nearer to a paste of two training items than all but a hundredth of held-out items are.

    `memorization` asks the same of one training item, and half of one escapes it. Of texts and other token sequences, a
    paste has the n-grams of the nearest training item and of the one that has most of what is left. Of images, it is
    the upper or left half of one and the other half of another, halves compared on the features of near-copies.

    Pitfalls. Three pieces escape it, and images cut anywhere but in the middle. Short texts are pastes by chance.
    """

    class Config(Settings):
        """The metric's options."""

        percentile: float = Value(1.0, gt=0, lt=50, description="of held-out distances; below it counts as pasted")
        order: int = Value(5, ge=1, le=50, description="of the n-grams of token sequences")

    figures: ClassVar[dict[str, Direction]] = {"pasted_share": Direction.LOWER}
    paper: ClassVar[str] = (
        'nearest-neighbour test after Meehan et al. 2020, "A Non-Parametric Test to Detect Data-Copying", with pastes '
        "of two training items in place of the items"
    )
    forms: ClassVar[frozenset[Form]] = frozenset({Form.TENSOR, Form.TOKENS})
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    @classmethod
    def check(cls, family: Family, modality: Modality) -> None:
        """Refuse what cannot be cut in two so, before any work."""
        super().check(family, modality)
        if modality.shown.form is Form.TENSOR and modality.shown.name != "image":
            raise Unsupported(
                "pastes are looked for in images and token sequences",
                given=modality.shown.name,
                cure="leave the metric out",
            )

    def compute(self, context: Context) -> dict[str, Score]:
        if context.modality.form is Form.TOKENS:
            judged, found = _sequences(context, self.config.order, self.config.percentile)
        else:
            judged, found = _images(context, self.config.percentile)
        pasted = int(judged.copied.sum())
        protocol = self.stamp(
            "pasted_share",
            context.sample_stamp() | found,
            tokenizer_bound=bound_to_tokens(context.modality),
            interval_method="95 %, Wilson, given the held-out items",
            floor_method="held-out items, cut to the samples' lengths, against the limit of the other half of them",
            floor_samples=context.count,
            detail={
                "limits": {str(length): limit for length, limit in judged.limits.items()},
                "training_items": len(context.prepared.train),
                BY_CHANCE: judged.by_chance,
            },
        )
        interval = share(pasted, len(judged.copied))
        return {"pasted_share": Score(pasted / len(judged.copied), interval, judged.floor, protocol)}


def _sequences(context: Context, order: int, percentile: float) -> tuple[Judged, Protocol]:
    held, generated = (
        [elements(context.modality, array) for array in side] for side in (context.real, context.generated)
    )
    lengths = Lengths.of(held, generated)
    found = Overlap([*generated, *lengths.sequences], order).pasted(lambda: training_sequences(context))
    samples, cut = np.split(found[:, None], [len(generated)])
    judged = judge(samples, lengths.of_samples, lengths.split(cut), percentile, most=MOSTLY)
    return judged, Protocol(unit=f"{order}-grams of {kind_of_elements(context.modality)} in neither of two items")


def _images(context: Context, percentile: float) -> tuple[Judged, Protocol]:
    extractor = extractors.choose(context.modality.copy_extractor, context.modality)
    queries = [*context.real_items, *context.generated_items]
    squares = []
    for axis in (0, 1):
        halves = [nearest(extractor(_half(queries, axis, last)), _features(context, axis, last)) for last in (0, 1)]
        squares.append(halves[0][0] ** 2 + halves[1][0] ** 2)
    protocol = Protocol(
        extractor=extractor.name,
        extractor_hash=extractor.hash,
        preprocessing=f"cut in two halves; then {extractor.preprocessing}",
        unit="Euclidean distance of features of both halves together, the smaller of two ways to cut",
    )
    distances = np.sqrt(np.minimum(squares[0], squares[1]))[:, None]
    held, generated = np.split(distances, 2)
    return judge(generated, np.zeros(len(generated)), {0: held}, percentile), protocol


def _features(context: Context, axis: int, last: int) -> Iterator[np.ndarray]:
    extractor = extractors.choose(context.modality.copy_extractor, context.modality)
    train = context.prepared.train
    return (extractor(_half(items, axis, last)) for _, items in context.decoded(train, range(len(train))))


def _half(items: Sequence[Item], axis: int, last: int) -> list[Item]:
    """The first or the last half of images ``[H, W, C]`` along an axis."""
    return [np.array_split(item, 2, axis=axis)[last] for item in items]
