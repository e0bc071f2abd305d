"""Losses of the same tokens under contexts cut to several lengths, and by place in the item with all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.evaluation.context import Context, chunks
from miaobi.evaluation.metrics._intervals import of_ratio
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field

_LONGEST = 256
_TARGETS = 256
_AN_ITEM = 8
_LN2 = float(np.log(2))


@dataclass(frozen=True, slots=True)
class Target:
    """A token that is scored: token ``place`` of the held-out item at ``row``."""

    row: int
    place: int


@dataclass(frozen=True, slots=True)
class Bits:
    """Bits a token, its 95 % interval over items, and of how many tokens."""

    value: float
    interval: tuple[float, float] | None
    tokens: int


def lengths_of(context: Context, rows: Sequence[int]) -> list[int]:
    """Tokens of each held-out item at ``rows``."""
    found: list[int] = []
    for chosen in chunks(rows, context.batch_rows):
        found += context.held.batch(chosen, augment=None).target.mask().sum(1).tolist()
    return found


def ladder(lengths: Sequence[int], column: int) -> list[int]:
    """Contexts of 1, 2, 4, ... columns of tokens, as long as half of the items are longer, at most 256 tokens.

    Args:
        lengths: of the items.
        column: tokens that stand together (one, where streams are not interleaved).
    """
    most = min(int(np.median(lengths)) - 1, _LONGEST) if lengths else 0
    found = [column]
    while 2 * found[-1] <= most:
        found.append(2 * found[-1])
    return found if found[0] <= most else []


def targets_of(rows: Sequence[int], lengths: Sequence[int], longest: int) -> list[Target]:
    """Up to 8 tokens an item and 256 in all that have ``longest`` tokens before them, evenly spaced."""
    roomy = [(row, length) for row, length in zip(rows, lengths, strict=True) if length > longest]
    each = max(1, min(_AN_ITEM, _TARGETS // max(1, len(roomy))))
    found = []
    for row, length in roomy[:: max(1, len(roomy) // _TARGETS)]:
        count = min(each, length - longest)
        found += [Target(row, longest + i * (length - longest) // count) for i in range(count)]
    return found[:_TARGETS]


def cut_losses(context: Context, targets: Sequence[Target], length: int, column: int = 1) -> np.ndarray:
    """``[targets]`` nats of each target given the ``length`` tokens before it, and no more.

    What stands before every item (conditions, a begin token) stands before the cut context too. Where streams are
    interleaved, the context begins with a whole column, so it is up to ``column - 1`` tokens shorter.
    """
    rows = max(1, context.batch_rows)
    return np.concatenate([_cut(context, chosen, length, column) for chosen in chunks(targets, rows)])


def place_losses(context: Context, rows: Sequence[int], edges: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Nats and tokens ``[rows, bins]`` of each item's tokens at places ``edges[i] <= place < edges[i + 1]``."""
    nats, counts = [], []
    for chosen in chunks(rows, context.batch_rows):
        batch = _on_device(context, context.held.batch(chosen, augment=None))
        places = torch.arange(batch.target.values.shape[1], device=batch.target.values.device)[None]
        masks = [batch.target.mask() & (places >= low) & (places < high) for low, high in pairwise(edges)]
        found = [_nats(context, batch, mask) for mask in masks]
        nats.append(np.stack([one[0] for one in found], 1))
        counts.append(np.stack([one[1] for one in found], 1))
    return np.concatenate(nats), np.concatenate(counts)


def bits(nats: np.ndarray, groups: Sequence[int], counts: np.ndarray | None = None) -> Bits:
    """Bits a token, with an interval over ``groups``: tokens of one item are not independent."""
    counts = np.ones(len(nats)) if counts is None else counts
    _, inverse = np.unique(np.asarray(groups), return_inverse=True)
    sums, sizes = np.bincount(inverse, nats / _LN2), np.bincount(inverse, counts)
    return Bits(float(sums.sum() / sizes.sum()), of_ratio(sums, sizes), int(sizes.sum()))


def _cut(context: Context, targets: Sequence[Target], length: int, column: int) -> np.ndarray:
    batch = context.held.batch([target.row for target in targets], augment=None)
    starts = [max(0, target.place - length) for target in targets]
    starts = [start + -start % column for start in starts]
    windows = [
        batch.target.values[i, start : target.place + 1]
        for i, (start, target) in enumerate(zip(starts, targets, strict=True))
    ]
    lengths = torch.tensor([len(window) for window in windows])
    values = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True)
    cut = _on_device(context, replace(batch, target=Field(values, lengths=lengths)))
    last = (
        torch.arange(values.shape[1], device=cut.target.values.device)[None]
        == (lengths - 1).to(cut.target.values.device)[:, None]
    )
    return _nats(context, cut, last)[0]


def _nats(context: Context, batch: Batch, counted: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Nats and number ``[B]`` of the ``counted [B, L]`` tokens, without that of the end token, which is always scored.

    Raises:
        Unsupported: the family only bounds likelihoods, and a difference of bounds bounds nothing.
    """
    family = context.model.family
    seeds = seeds_of(0, batch.ids.tolist()).to(family.device)
    found = []
    for weight in (counted.float(), torch.zeros_like(counted, dtype=torch.float32)):
        weighted = replace(batch, target=replace(batch.target, weight=weight))
        bound = family.log_likelihood(weighted, seeds=seeds)  # type: ignore[operator]
        if not bound.exact or bound.predicted is None:
            raise Unsupported(
                "the likelihood is a bound, so the loss of a single token is not known",
                given=type(family).__name__,
                cure="look at a model whose likelihood is exact: autoregressive, seq2seq or ngram",
            )
        found.append((bound.nats.double().cpu().numpy(), bound.predicted.cpu().numpy()))
    (with_, number), (without, others) = found
    return with_ - without, number - others


def _on_device(context: Context, batch: Batch) -> Batch:
    return batch.to(context.model.family.device)
