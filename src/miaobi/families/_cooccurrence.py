"""Which words of one side of a pair are seen with which of the other, and how strongly they belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.families._words import Word

NONE = -1
"""No such word, or no word that belongs to it."""
MOST_PAIRS = 1 << 26
_SOURCE = 1 << 32
"""A pair's key is its source word's number times this plus its target word's."""
_HELD = 1 << 21
_GROWING = ("spellings", "ends", "sources", "targets", "frequency", "keys", "together")


class Cooccurrence(nn.Module):
    """Counts over pairs of sequences of words; everything is in buffers, and what is loaded may have another size.

    Words have one number on both sides, in the order in which they were first seen.

    Attributes:
        totals: ``int64 [3]``: items, and words of their sources and of their targets, repeats counted.
    """

    spellings: Tensor
    ends: Tensor
    sources: Tensor
    targets: Tensor
    frequency: Tensor
    keys: Tensor
    together: Tensor
    totals: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in _GROWING:
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        self.register_buffer("totals", torch.zeros(3, dtype=torch.int64))
        self._held: list[np.ndarray] = []
        self._known: dict[Word, int] | None = None
        self._links: Links | None = None

    def add(self, sources: Sequence[Sequence[Word]], targets: Sequence[Sequence[Word]]) -> None:
        """Count items: presence of words and of pairs once an item, frequency of target words each time.

        Raises:
            Unsupported: more different pairs than are kept.
        """
        known, fresh = self._numbers(), len(self.ends)
        sides = [
            [np.array([known.setdefault(word, len(known)) for word in words], dtype=np.int64) for words in pair]
            for pair in zip(sources, targets, strict=True)
        ]
        self._spell(list(known)[fresh:])
        once = [[np.unique(side) for side in pair] for pair in sides]
        self.sources += self._bincount([pair[0] for pair in once])
        self.targets += self._bincount([pair[1] for pair in once])
        self.frequency += self._bincount([pair[1] for pair in sides])
        lengths = [sum(len(pair[side]) for pair in sides) for side in (0, 1)]
        self.totals += torch.tensor([len(sides), *lengths]).to(self.totals)
        self._held += [(pair[0][:, None] * _SOURCE + pair[1]).ravel() for pair in once]
        if sum(map(len, self._held)) > max(_HELD, len(self.keys)):
            self.settle()
        self._links = None

    def settle(self) -> None:
        """Merge the pairs that are held back, so that few merges of a large table are needed."""
        if not self._held:
            return
        new = torch.from_numpy(np.concatenate(self._held)).to(self.keys)
        merged, places = torch.cat([self.keys, new]).unique(return_inverse=True)
        if len(merged) > MOST_PAIRS:
            raise Unsupported(
                "there are too many different pairs of words to keep",
                given=len(merged),
                allowed=f"up to {MOST_PAIRS}",
                cure="shorten the items with data.clean.max_length, or take fewer with data.clean.limit",
            )
        counts = torch.cat([self.together, torch.ones_like(new)])
        self.together = torch.zeros_like(merged).index_add_(0, places, counts)
        self.keys, self._held = merged, []

    def number(self, words: Sequence[Word]) -> np.ndarray:
        """Numbers ``int64 [L]`` of words, `NONE` for those never seen."""
        known = self._numbers()
        return np.array([known.get(word, NONE) for word in words], dtype=np.int64)

    def word(self, number: int) -> Word:
        """The word of a number."""
        start = 0 if number == 0 else int(self.ends[number - 1])
        return tuple(self.spellings[start : int(self.ends[number])].tolist())

    @property
    def links(self) -> Links:
        """What belongs to what, from the counts as they are."""
        if self._links is None:
            self.settle()
            counts = (getattr(self, name).cpu().numpy() for name in ("keys", "together", "sources", "targets"))
            self._links = Links.of(*counts, items=int(self.totals[0]))
        return self._links

    def _numbers(self) -> dict[Word, int]:
        if self._known is None:
            tokens, ends = self.spellings.tolist(), self.ends.tolist()
            starts = [0, *ends[:-1]]
            spans = enumerate(zip(starts, ends, strict=False))
            self._known = {tuple(tokens[start:end]): number for number, (start, end) in spans}
        return self._known

    def _spell(self, words: Sequence[Word]) -> None:
        start = int(self.ends[-1]) if len(self.ends) else 0
        ends = start + np.cumsum([len(word) for word in words], dtype=np.int64)
        tokens = torch.tensor([token for word in words for token in word], dtype=torch.int64)
        self.spellings = torch.cat([self.spellings, tokens.to(self.spellings)])
        self.ends = torch.cat([self.ends, torch.from_numpy(ends).to(self.ends)])
        for name in ("sources", "targets", "frequency"):
            counts: Tensor = getattr(self, name)
            setattr(self, name, torch.cat([counts, counts.new_zeros(len(words))]))

    def _bincount(self, rows: Sequence[np.ndarray]) -> Tensor:
        counted = np.bincount(np.concatenate(rows) if rows else [], minlength=len(self.ends))
        return torch.from_numpy(counted).to(self.ends)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self.settle()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for name in _GROWING:
            found = state_dict.get(prefix + name)
            if found is not None:
                setattr(self, name, getattr(self, name).new_zeros(found.shape))
        self._held, self._known, self._links = [], None, None
        super()._load_from_state_dict(state_dict, prefix, *rest)


@dataclass(frozen=True)
class Links:
    """Target words that belong to source words: seen together more often than by chance.

    The strength is Dunning's log-likelihood ratio (1993, "Accurate methods for the statistics of surprise and
    coincidence"), and a source word's weights are its strengths divided by their sum (Moore 2004, "Improving IBM
    word-alignment model 1").

    Attributes:
        keys: ``int64 [N]`` of pairs, sorted.
        weights: ``float64 [N]``, of a source word adding up to 1.
        best: ``int64 [W]`` the strongest of each word; of equals the same word, then the one seen together more often.
    """

    keys: np.ndarray
    weights: np.ndarray
    best: np.ndarray

    @classmethod
    def of(
        cls, keys: np.ndarray, together: np.ndarray, sources: np.ndarray, targets: np.ndarray, *, items: int
    ) -> Links:
        """From counts of pairs ``[N]`` and of words on each side ``[W]``."""
        strengths = ratio(together, sources[keys // _SOURCE], targets[keys % _SOURCE], items)
        kept = strengths > 0
        keys, together, strengths = keys[kept], together[kept], strengths[kept]
        source, target = keys // _SOURCE, keys % _SOURCE
        weights = strengths / np.bincount(source, strengths, minlength=len(sources))[source]
        order = np.lexsort((together, source == target, strengths, source))
        best = np.full(len(sources), NONE)
        best[source[order]] = target[order]
        return cls(keys, weights, best)

    def of_word(self, source: int) -> tuple[np.ndarray, np.ndarray]:
        """The target words of a source word, and their weights."""
        first, last = np.searchsorted(self.keys, [source * _SOURCE, (source + 1) * _SOURCE])
        return self.keys[first:last] % _SOURCE, self.weights[first:last]

    def weight(self, sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """``float64 [S, T]``: each pair's weight, zero where the two do not belong together or are `NONE`."""
        keys = sources[:, None] * _SOURCE + targets
        if not len(self.keys):
            return np.zeros(keys.shape)
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        found = (self.keys[places] == keys) & (sources[:, None] != NONE) & (targets != NONE)
        return np.where(found, self.weights[places], 0.0)


def ratio(together: np.ndarray, sources: np.ndarray, targets: np.ndarray, items: int) -> np.ndarray:
    """Dunning's log-likelihood ratio of each pair; zero where it is seen together no more often than by chance.

    Args:
        together: ``[N]`` items that have both.
        sources: ``[N]`` items that have the source word.
        targets: ``[N]`` items that have the target word.
        items: how many there are.
    """
    cells = (together, sources - together, targets - together, items - sources - targets + together)
    margins = (sources, items - sources, targets, items - targets)
    found = 2 * (sum(map(_times_log, cells)) + _times_log(np.array(items)) - sum(map(_times_log, margins)))
    return np.where(together * items > sources * targets, found, 0.0)


def _times_log(count: np.ndarray) -> np.ndarray:
    return np.asarray(count * np.log(np.maximum(count, 1)), dtype=np.float64)
