"""The training item nearest to each of any number of items: by features for tensors, by n-grams for sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from miaobi.evaluation import extractors
from miaobi.evaluation.metrics._copies import cut_to, training_arrays, training_sequences
from miaobi.evaluation.metrics._neighbours import nearest
from miaobi.evaluation.metrics._overlap import Overlap, longest_common
from miaobi.evaluation.metrics._words import elements, is_text
from miaobi.evaluation.records import Protocol
from miaobi.modalities import Item
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


@dataclass(frozen=True, slots=True)
class Found:
    """Of held-out items, then of generated ones: distance to the nearest training item, and its row.

    ``copies``: the longest common run; ``cut``: distances of the former cut to the lengths of the latter.
    """

    distances: np.ndarray
    where: np.ndarray
    training: int
    protocol: Protocol
    copies: np.ndarray | None = None
    cut: np.ndarray | None = None


def nearest_training(context: Context, order: int) -> Found:
    """Of the context's held-out and generated items; ``order``: of the n-grams of sequences."""
    return _sequences(context, order) if context.modality.form is Form.TOKENS else _vectors(context)


def training_item(context: Context, row: int) -> Item:
    """The training item at a row, as it was looked at."""
    if context.modality.form is Form.TOKENS:
        return context.modality.decode(training_arrays(context, [row])[0])
    return next(context.decoded(context.prepared.train, [row]))[1][0]


def _vectors(context: Context) -> Found:
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
    return Found(distances, where, len(train), protocol)


def _sequences(context: Context, order: int) -> Found:
    modality = context.modality
    queries = [elements(modality, array) for array in [*context.real, *context.generated]]
    cut = cut_to(queries[: context.count], queries[context.count :])
    distances, where = Overlap([*queries, *cut], order).nearest(training_sequences(context))
    longest = [
        longest_common(query, elements(modality, training_arrays(context, [int(row)])[0]))
        for query, row in zip(queries, where[: len(queries)], strict=True)
    ]
    kind = "characters" if is_text(modality) else "tokens"
    protocol = Protocol(unit=f"{order}-grams of {kind}; longest_copy in {kind}")
    halves = distances[: len(queries)], distances[len(queries) :]
    copies = np.array(longest, dtype=np.float64)
    return Found(halves[0], where, len(context.prepared.train), protocol, copies, halves[1])
