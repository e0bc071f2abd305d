"""Sequences whose middle stands last, so that a network that reads from left to right has read both of its sides.

Bavarian et al. 2022, "Efficient training of language models to fill in the middle". Three special tokens are added to a
`Layout`: one before the prefix, one before the suffix, one before the middle. Two orders are known, as in the paper:

    prefix first: PREFIX prefix SUFFIX suffix MIDDLE middle end
    suffix first: PREFIX SUFFIX suffix MIDDLE prefix middle end

In the second the middle goes on from the prefix without a seam.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum

import torch
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families._layout import Layout
from miaobi.types import Batch, Spec


class Order(IntEnum):
    """In which order the parts of an item stand."""

    PLAIN = 0
    PREFIX_FIRST = 1
    SUFFIX_FIRST = 2


_DROPPED = 9
_LAST = 8
# Where each part of an item goes under each order: the marks of prefix, suffix and middle; prefix, middle, suffix.
_MARKS = torch.tensor([[_DROPPED, _DROPPED, _DROPPED], [1, 3, 5], [1, 2, 4]])
_PARTS = torch.tensor([[1, 1, 1], [2, 6, 4], [5, 6, 3]])


class GappedLayout(Layout):
    """A `Layout` that also knows items with their middle last.

    Raises:
        Unsupported: a target whose items have no end token, so that nothing would say where a middle ends.
    """

    def __init__(self, target: Spec, conditions: Mapping[str, Spec]) -> None:
        super().__init__(target, conditions)
        if self.end is None:
            raise Unsupported(
                "infilling needs items that end by themselves",
                given="a stream" if target.stream else "items of one fixed length",
                cure="give separate items, or choose autoregressive",
            )
        self._closing: int = self.end
        self.marks = (self._take(1), self._take(1), self._take(1))
        self.vocabulary = self._next
        self.span += len(self.marks)

    def gapped(self, batch: Batch, orders: Tensor, begins: Tensor, ends: Tensor) -> tuple[Tensor, Tensor]:
        """Whole sequences, as `sequence` gives them; the special tokens are not predicted.

        Args:
            batch: items.
            orders: ``[B]`` of `Order`.
            begins: ``[B]``, where each item's middle begins.
            ends: ``[B]``, where its suffix begins; at least ``begins`` and at most the item's length.
        """
        target, rows = batch.target, len(batch)
        head, head_mask = self.head(batch.conditions, rows, target.values.device)
        mask = target.mask()
        weight = mask.float() if target.weight is None else mask * target.weight
        marks = torch.tensor(self.marks, device=head.device).expand(rows, -1)
        end = torch.full_like(marks[:, :1], self._closing)
        tokens = torch.cat([head, marks, target.values, end], 1)
        silent = weight.new_zeros(rows, head.shape[1] + marks.shape[1])
        weights = torch.cat([silent, weight, weight.new_ones(rows, 1)], 1)
        place = torch.arange(target.values.shape[1], device=head.device)
        part = (place >= begins[:, None]).long() + (place >= ends[:, None])
        ranks = [
            torch.zeros_like(head).masked_fill(~head_mask, _DROPPED),
            _MARKS.to(head.device)[orders],
            _PARTS.to(head.device)[orders].gather(1, part).masked_fill(~mask, _DROPPED),
            torch.full_like(end, _LAST),
        ]
        return _arranged(tokens, weights, torch.cat(ranks, 1))

    def opened(self, head: Sequence[int], prefix: Sequence[int], suffix: Sequence[int], order: Order) -> list[int]:
        """What stands before the middle of one item: ``head``, then both sides; after it the middle is next."""
        before, after, middle = self.marks
        if order is Order.PREFIX_FIRST:
            return [*head, before, *prefix, after, *suffix, middle]
        return [*head, before, after, *suffix, middle, *prefix]


def _arranged(tokens: Tensor, weights: Tensor, ranks: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens and weights in order of rank, those of one rank as they stood; what is dropped becomes zero padding."""
    longest = int((ranks < _DROPPED).sum(1).max())
    order = ranks.argsort(dim=1, stable=True)[:, :longest]
    real = ranks.gather(1, order) < _DROPPED
    return tokens.gather(1, order) * real, weights.gather(1, order) * real
