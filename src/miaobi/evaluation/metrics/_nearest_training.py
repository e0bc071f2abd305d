"""The training item nearest to each of any number of items: by features for tensors, by n-grams for sequences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from miaobi.evaluation import extractors
from miaobi.evaluation.metrics._copies import Lengths, training_arrays, training_sequences
from miaobi.evaluation.metrics._neighbours import two_nearest
from miaobi.evaluation.metrics._overlap import Overlap, longest_common, shared_in_order
from miaobi.evaluation.metrics._words import elements, kind_of_elements, order_of, streams
from miaobi.evaluation.records import Protocol
from miaobi.modalities import Item
from miaobi.types import Form

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


@dataclass(frozen=True, slots=True)
class Found:
    """Of held-out items, then of generated ones, then of the former cut to the latter's lengths.

    Attributes:
        distances: ``[n]`` to the nearest training item; ``where``: its row.
        nearness: ``[n, k]`` what tells a changed copy from what is only like it, the lower the nearer.
        training: how many training items there are.
        protocol: what the distances are.
        lengths: of the samples, and the cut items; ``copies``: of sequences, the longest run shared with the nearest.
    """

    distances: np.ndarray
    where: np.ndarray
    nearness: np.ndarray
    training: int
    protocol: Protocol
    lengths: Lengths | None = None
    copies: np.ndarray | None = None


def nearest_training(context: Context, order: int | None = None) -> Found:
    """Of the context's held-out and generated items; ``order``: of n-grams; default: by the script."""
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
    near, where = two_nearest(queries, batches)
    # A copy has nought in both; of two equal training items the first alone tells.
    ratio = np.divide(near[:, 0], near[:, 1], out=np.zeros(len(near)), where=near[:, 1] > 0)
    protocol = Protocol(
        extractor=extractor.name,
        extractor_hash=extractor.hash,
        preprocessing=extractor.preprocessing,
        unit="Euclidean distance of features; copies also by its ratio to that of the second-nearest item",
    )
    return Found(near[:, 0], where, np.stack([near[:, 0], ratio], axis=1), len(train), protocol)


def _sequences(context: Context, order: int | None) -> Found:
    modality = context.modality
    order = order or order_of(modality, context.real)
    held, generated = ([elements(modality, array) for array in side] for side in (context.real, context.generated))
    lengths = Lengths.of(held, generated)
    queries: list[Sequence[str]] = [*held, *generated, *lengths.sequences]
    columns = [_beside(context, queries, order, stream) for stream in range(len(streams(modality, queries[0])))]
    distances, where, _, beside = columns[0]
    whole = len(held) + len(generated)
    longest = [longest_common(one, other) for one, other in zip(queries[:whole], beside, strict=False)]
    kind = kind_of_elements(modality)
    protocol = Protocol(
        unit=f"{order}-grams of {kind} in no nearest item; copies by {kind} in the order of that item; longest_copy in "
        f"{kind}"
    )
    return Found(
        distances,
        where,
        np.stack([nearness for _, _, nearness, _ in columns], axis=1),
        len(context.prepared.train),
        protocol,
        lengths,
        np.array(longest, dtype=np.float64),
    )


def _beside(
    context: Context, queries: Sequence[Sequence[str]], order: int, stream: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[Sequence[str]]]:
    """By one of the `streams`: distances, rows of the nearest, shares not in their order, the nearest themselves."""
    modality = context.modality
    asked = [streams(modality, query)[stream] for query in queries]
    known = ([streams(modality, one)[stream] for one in batch] for batch in training_sequences(context))
    distances, where = Overlap(asked, order).nearest(known)
    rows = dict.fromkeys(where.tolist())
    found = {row: elements(modality, training_arrays(context, [row])[0]) for row in rows}
    beside = [streams(modality, found[row])[stream] for row in where.tolist()]
    nearness = np.array([1 - shared_in_order(one, other) for one, other in zip(asked, beside, strict=True)])
    return distances, where, nearness, beside
