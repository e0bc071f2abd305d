"""Counts of token sequences up to a length, in sorted tables that are searched many keys at a time.

An entry of level k is a sequence of k tokens, keyed by its parent's number (the entry of level k - 1 that it extends)
times the vocabulary plus its last token: exact, without hashing, and the continuations of a parent lie side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from miaobi.sampling.decoding import Output

NONE = -1
"""No such entry."""


class Level(nn.Module):
    """One table: ``keys [N]`` int64, sorted, and ``counts [N]`` int64; what is loaded may have another N."""

    keys: Tensor
    counts: Tensor

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int64))

    def find(self, parents: Tensor, tokens: Tensor) -> Tensor:
        """Numbers of the entries that extend ``parents`` by ``tokens``, `NONE` where there is none."""
        if not len(self.keys):
            return torch.full_like(tokens, NONE)
        keys = parents * self.vocabulary + tokens
        places = torch.searchsorted(self.keys, keys).clamp_(max=len(self.keys) - 1)
        return places.masked_fill((self.keys[places] != keys) | (parents == NONE), NONE)

    def count(self, entries: Tensor) -> Tensor:
        """Counts of entries, zero for `NONE`."""
        if not len(self.counts):
            return torch.zeros_like(entries)
        return self.counts[entries.clamp(min=0)].masked_fill(entries == NONE, 0)

    def continuations(self, parents: Tensor) -> tuple[Tensor, Tensor]:
        """First and one past the last entry of each parent; equal for `NONE`."""
        first = torch.searchsorted(self.keys, parents * self.vocabulary)
        last = torch.searchsorted(self.keys, (parents + 1) * self.vocabulary)
        return first, torch.where(parents == NONE, first, last)

    def totals(self, parents: Tensor) -> tuple[Tensor, Tensor]:
        """How often each parent was continued, and by how many different tokens."""
        first, last = self.continuations(parents)
        often, distinct = _sums(self.counts), _sums((self.counts > 0).long())
        return often[last] - often[first], distinct[last] - distinct[first]

    def renumber(self, parents: Callable[[Tensor], Tensor]) -> None:
        """Parents' numbers have become ``parents(numbers)``; their order is the same."""
        self.keys = parents(self.keys // self.vocabulary) * self.vocabulary + self.keys % self.vocabulary

    def add(self, keys: Tensor, counts: Tensor) -> Tensor:
        """Merge new keys ``[M]`` (repeats allowed) and give the new numbers of the entries that were there before.

        ``counts [M]`` may be zero: such an entry is only a parent.
        """
        mine = self.keys
        merged, places = torch.cat([mine, keys]).unique(return_inverse=True)
        summed = torch.zeros_like(merged).index_add_(0, places, torch.cat([self.counts, counts]))
        self.keys, self.counts = merged, summed
        return places[: len(mine)]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in ("keys", "counts"):
            found = state_dict.get(prefix + name)
            if found is not None:
                setattr(self, name, getattr(self, name).new_zeros(found.shape))
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Counts(nn.Module):
    """Counts of sequences of 1 to ``order`` tokens, and of the longest ones by label; smoothed as Witten and Bell 1991.

    Each level gives what it has seen and hands the share T / (N + T) to the next shorter one, N being how often the
    context was continued and T by how many different tokens; the last is uniform. The label is the most distant part
    of a context: the longest context with the label hands over to the longest without.

    Args:
        order: longest sequence; contexts are one shorter.
        vocabulary: of sequences, specials included.
        output: what may be predicted.
        labels: number of label combinations; 0 without.
    """

    uniform: Tensor
    by_label: Level | None

    def __init__(self, order: int, vocabulary: int, output: Output, labels: int) -> None:
        super().__init__()
        self.order, self.vocabulary, self.labels = order, vocabulary, labels
        allowed = torch.arange(vocabulary) < output.size
        if output.banned is not None:
            allowed[output.banned] = False
        self.register_buffer("uniform", allowed / allowed.sum().double(), persistent=False)
        self.levels = nn.ModuleList(Level(vocabulary) for _ in range(order))
        self.by_label = Level(vocabulary) if labels else None

    def add(self, tokens: Tensor, real: Tensor, predicted: Tensor, labels: Tensor) -> None:
        """Count sequences.

        Args:
            tokens: ``[B, L]``.
            real: ``[B, L]`` bool, false at padding.
            predicted: ``[B, L]`` bool: only sequences that end here are counted.
            labels: ``[B]``, `NONE` where absent.
        """
        contexts, moved, context_moved = torch.zeros_like(tokens), None, None
        for level in self._levels():
            if moved is not None:
                level.renumber(moved)
            parents, context_moved = contexts, moved
            moved = level.add(*_new_entries(parents, tokens, real, predicted, self.vocabulary)).__getitem__
            contexts = _before(level.find(parents, tokens).masked_fill(~real, NONE))
        if self.by_label is not None:
            if context_moved is not None:
                move = context_moved
                self.by_label.renumber(lambda old: move(old // self.labels) * self.labels + old % self.labels)
            parents = self._labelled(parents, labels[:, None])
            self.by_label.add(*_new_entries(parents, tokens, real & predicted, predicted, self.vocabulary))

    def probabilities(self, tokens: Tensor, real: Tensor, labels: Tensor) -> Tensor:
        """Of each token given those before it in its row: ``[B, L]`` float64, as in `add`."""
        contexts, result = torch.zeros_like(tokens), self.uniform[tokens]
        for level in self._levels():
            parents = contexts
            entries = level.find(parents, tokens)
            result = _interpolate(level, parents, level.count(entries), result)
            contexts = _before(entries.masked_fill(~real, NONE))
        if self.by_label is not None:
            parents = self._labelled(parents, labels[:, None])
            found = self.by_label.count(self.by_label.find(parents, tokens))
            result = _interpolate(self.by_label, parents, found, result)
        return result

    def next_probabilities(self, history: Tensor, real: Tensor, labels: Tensor) -> Tensor:
        """Of every token after ``history [R, order - 1]`` (real ones on the right): ``[R, vocabulary]`` float64."""
        rows, longer = len(history), self._levels()
        parents, context = torch.zeros_like(history), labels.new_zeros(rows)
        result = self._mix(longer[0], context, self.uniform.expand(rows, -1))
        for shorter, level in pairwise(longer):
            entries = shorter.find(parents, history).masked_fill(~real, NONE)
            parents, context = _before(entries), entries[:, -1]
            result = self._mix(level, context, result)
        if self.by_label is not None:
            result = self._mix(self.by_label, self._labelled(context, labels), result)
        return result

    def _mix(self, level: Level, parents: Tensor, shorter: Tensor) -> Tensor:
        first, last = level.continuations(parents)
        rows = torch.arange(len(parents), device=parents.device).repeat_interleave(last - first)
        starts = (last - first).cumsum(0) - (last - first)
        places = torch.arange(len(rows), device=rows.device) - starts[rows] + first[rows]
        counts = torch.zeros(shorter.shape, dtype=torch.int64, device=rows.device)
        counts[rows, level.keys[places] % self.vocabulary] = level.counts[places]
        return _interpolate(level, parents[:, None], counts, shorter)

    def _levels(self) -> list[Level]:
        return cast(list[Level], list(self.levels))

    def _labelled(self, contexts: Tensor, labels: Tensor) -> Tensor:
        return (contexts * self.labels + labels).masked_fill((contexts == NONE) | (labels == NONE), NONE)


def _interpolate(level: Level, parents: Tensor, counts: Tensor, shorter: Tensor) -> Tensor:
    """Witten and Bell's estimate from ``counts`` and the next shorter context's probabilities."""
    often, distinct = level.totals(parents)
    seen = (counts + distinct * shorter) / (often + distinct).clamp(min=1)
    return torch.where(often > 0, seen, shorter)


def _new_entries(
    parents: Tensor, tokens: Tensor, real: Tensor, predicted: Tensor, vocabulary: int
) -> tuple[Tensor, Tensor]:
    """Keys of the sequences that end at each position and have a parent, and how often each counts."""
    there = real & (parents != NONE)
    return parents[there] * vocabulary + tokens[there], predicted[there].long()


def _before(entries: Tensor) -> Tensor:
    """What stood at the position before; `NONE` at the first."""
    shifted = torch.full_like(entries, NONE)
    shifted[:, 1:] = entries[:, :-1]
    return shifted


def _sums(counts: Tensor) -> Tensor:
    """Cumulative sums with a leading zero."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
