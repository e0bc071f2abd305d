"""Memorisation: are generated items nearer to training items than held-out ones are?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field as Value

from miaobi.evaluation import extractors
from miaobi.evaluation.metrics._base import Metric
from miaobi.evaluation.metrics._copies import CUT, cut_to, floor_of, training_arrays, training_sequences
from miaobi.evaluation.metrics._intervals import of_mean, share
from miaobi.evaluation.metrics._neighbours import nearest
from miaobi.evaluation.metrics._overlap import Overlap, longest_common
from miaobi.evaluation.metrics._words import bound_to_tokens, elements, is_text
from miaobi.evaluation.records import Direction, Pair, Protocol, Score
from miaobi.modalities import Item
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

    Pitfalls. Short texts are in some training item by chance; what held-out items cut to the samples' lengths score is
    beside it. Half of one item escapes it (`pasting` looks for that), and so do paraphrase and mirrored pictures.
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
        found = _sequences(context, self.config.order) if context.modality.form is Form.TOKENS else _vectors(context)
        held, generated = found.distances[: context.count], found.distances[context.count :]
        scores = {"copied_share": self._share(context, held, generated, found)}
        scores["training_distance"] = self._mean(context, "training_distance", held, generated, found)
        if found.copies is not None:
            halves = found.copies[: context.count], found.copies[context.count :]
            scores["longest_copy"] = self._mean(context, "longest_copy", *halves, found)
        return scores

    def _share(self, context: Context, held: np.ndarray, generated: np.ndarray, found: _Found) -> Score:
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

    def _mean(self, context: Context, figure: str, held: np.ndarray, generated: np.ndarray, found: _Found) -> Score:
        protocol = self._protocol(context, figure, found) | Protocol(
            interval_method="95 %, Student's t over samples",
            floor_method="the same figure of the held-out items",
            detail={"training_items": found.training},
        )
        return Score(float(generated.mean()), of_mean(generated.tolist()), float(held.mean()), protocol)

    def _protocol(self, context: Context, figure: str, found: _Found) -> Protocol:
        return self.stamp(
            figure,
            context.sample_stamp() | found.protocol,
            tokenizer_bound=bound_to_tokens(context.modality),
            floor_samples=context.count,
        )

    def _pairs(self, context: Context, generated: np.ndarray, found: _Found) -> tuple[Pair, ...]:
        order = np.argsort(generated, kind="stable")[: self.config.pairs].tolist()
        items = [_training_item(context, int(found.where[context.count + i])) for i in order]
        return tuple(
            Pair(context.generated_items[i], item, float(generated[i])) for i, item in zip(order, items, strict=True)
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """Of held-out items, then of generated ones: distance to the nearest training item, and its row; ``cut``: distances
    of the former cut to the lengths of the latter.
    """

    distances: np.ndarray
    where: np.ndarray
    training: int
    protocol: Protocol
    copies: np.ndarray | None = None
    cut: np.ndarray | None = None


def _vectors(context: Context) -> _Found:
    extractor = extractors.choose(context.modality.copy_extractor, context.modality)
    queries = np.concatenate([extractor(context.real_items), extractor(context.generated_items)])
    train = context.prepared.train
    batches = (extractor(items) for _, items in context.decoded(train, range(len(train))))
    distances, where = nearest(queries, batches)
    protocol = Protocol(
        extractor=extractor.name,
        extractor_hash=extractor.hash,
        preprocessing=extractor.preprocessing,
        unit="Euclidean distance of features",
    )
    return _Found(distances, where, len(train), protocol)


def _sequences(context: Context, order: int) -> _Found:
    modality = context.modality
    queries = [elements(modality, array) for array in [*context.real, *context.generated]]
    cut = cut_to(queries[: context.count], queries[context.count :])
    distances, where = Overlap([*queries, *cut], order).nearest(training_sequences(context))
    longest = [
        longest_common(query, elements(modality, _training_array(context, int(row))))
        for query, row in zip(queries, where[: len(queries)], strict=True)
    ]
    kind = "characters" if is_text(modality) else "tokens"
    protocol = Protocol(unit=f"{order}-grams of {kind}; longest_copy in {kind}")
    halves = distances[: len(queries)], distances[len(queries) :]
    copies = np.array(longest, dtype=np.float64)
    return _Found(halves[0], where, len(context.prepared.train), protocol, copies, halves[1])


def _training_array(context: Context, row: int) -> np.ndarray:
    return training_arrays(context, [row])[0]


def _training_item(context: Context, row: int) -> Item:
    if context.modality.form is Form.TOKENS:
        return context.modality.decode(_training_array(context, row))
    return next(context.decoded(context.prepared.train, [row]))[1][0]
