"""What copies are looked for in: the training part as sequences; and how many held-out items look copied by chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from miaobi.evaluation.context import chunks
from miaobi.evaluation.metrics._words import elements

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context

CUT = "held_out_cut_to_length"
"""In a protocol's detail: what held-out items score that are cut to the samples' lengths, as `cut_to` does."""
_BATCH = 512


def training_sequences(context: Context) -> Iterator[list[Sequence[str]]]:
    """Every training item as characters or tokens, a batch at a time."""
    for rows in chunks(range(len(context.prepared.train)), _BATCH):
        yield [elements(context.modality, array) for array in training_arrays(context, rows)]


def training_arrays(context: Context, rows: Sequence[int]) -> list[np.ndarray]:
    """Arrays of training rows; of a stream joined with the next window, whose first token is the last one's again."""
    train, stream = context.prepared.train, context.prepared.target.stream
    more = [*rows, rows[-1] + 1] if stream and rows[-1] + 1 < len(train) else list(rows)
    arrays = [array for found, _ in context.decoded(train, more) for array in found]
    if not stream:
        return arrays
    joined = [np.concatenate([left[:-1], right]) for left, right in pairwise(arrays)]
    return joined if len(more) > len(rows) else [*joined, arrays[-1]]


def cut_to(real: Sequence[Sequence[str]], generated: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """Held-out sequences, each no longer than the generated one at its place.

    A short sequence is found in some training item by chance; how often, these tell.
    """
    return [left[: len(right)] for left, right in zip(real, generated, strict=True)]


def floor_of(held: np.ndarray, percentile: float) -> float | None:
    """The share of held-out distances within the limit of the other half of them, both ways."""
    halves = held[::2], held[1::2]
    if not len(halves[1]):
        return None
    limits = [np.percentile(half, percentile) for half in halves]
    inside = (halves[0] <= limits[1]).sum() + (halves[1] <= limits[0]).sum()
    return float(inside / len(held))
