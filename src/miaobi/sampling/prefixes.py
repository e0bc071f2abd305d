"""Prefilling what requests begin with, once where they begin alike."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, Protocol

import torch
from torch import Tensor

Context = tuple[int, ...]
Empty = Callable[[int, int], Any]
"""An empty cache of so many rows and so long a span."""
_LEAST = 16
"""Shorter prefixes are not worth keeping."""
_RECENT = 32


class Prefilling(Protocol):
    """See `TokenNetwork.prefill`."""

    def prefill(self, tokens: Tensor, lengths: Tensor, cache: Any) -> Tensor:
        """Logits after each row's last token."""


class Prefixes:
    """Caches of what several requests began with, the least recently used let go first.

    Equal contexts of one batch are fed once in any case. A prefix of at least 16 tokens that a second request shares
    with another of its batch or of the last 32 is fed by itself and kept; later ones go on from it. A whole
    context that comes twice in a row, as where items begin with nothing, is kept until another comes.

    Args:
        network: what prefills.
        room: prefixes kept; 0 for an engine that lives for one batch.
    """

    def __init__(self, network: Prefilling, room: int = 0) -> None:
        self._network, self._room = network, room
        self._kept: OrderedDict[Context, tuple[Any, Tensor]] = OrderedDict()
        self._recent: deque[Context] = deque(maxlen=_RECENT)
        self._last: Context = ()
        self._repeated: tuple[Any, Tensor] | None = None

    def __len__(self) -> int:
        return len(self._kept)

    def feed(self, contexts: Sequence[Context], span: int, empty: Empty, *, keep: bool = True) -> tuple[Any, Tensor]:
        """A cache of a row a context, each with room for ``span`` tokens, and the logits ``[rows, V]`` after each.

        Args:
            contexts: at least one token each.
            span: the longest that a row may become.
            empty: makes a cache.
            keep: whether these are beginnings that others may share.
        """
        distinct = list(dict.fromkeys(contexts))
        if self._room and keep:
            self._learn(distinct, empty)
        cache, logits = (
            self._alone(distinct[0], span, empty) if len(distinct) == 1 else self._continued(distinct, span, empty)
        )
        if len(distinct) == len(contexts):
            return cache, logits
        places = {context: row for row, context in enumerate(distinct)}
        rows = torch.tensor([places[context] for context in contexts], device=logits.device)
        return cache.select(rows), logits[rows]

    def _alone(self, context: Context, span: int, empty: Empty) -> tuple[Any, Tensor]:
        """`_continued` of one context."""
        again, self._last = context == self._last, context
        if again and self._repeated is not None:
            cache, logits = self._repeated
            # A row that asks for no more room than its context takes is copied by whoever puts it among others.
            return (cache if span <= len(context) else _spread(cache, 1).join(empty(0, span))), logits
        cache, logits = self._continued([context], span, empty)
        self._repeated = (_spread(cache, 1), logits) if again else None
        return cache, logits

    def _learn(self, contexts: list[Context], empty: Empty) -> None:
        for index, context in enumerate(contexts):
            others = (*self._recent, *contexts[:index])
            alike = [_shared(context, other) for other in others if other[:_LEAST] == context[:_LEAST]]
            shared = max(alike, key=len, default=())
            if len(shared) >= _LEAST and shared not in self._kept:
                self._kept[shared] = self._continued([shared], len(shared), empty)
        self._recent.extend(contexts)
        while len(self._kept) > self._room:
            self._kept.popitem(last=False)

    def _continued(self, contexts: list[Context], span: int, empty: Empty) -> tuple[Any, Tensor]:
        groups: dict[Context, list[int]] = {}
        for index, context in enumerate(contexts):
            groups.setdefault(self._longest(context), []).append(index)
        parts = [self._group(start, [contexts[index] for index in rows], span, empty) for start, rows in groups.items()]
        cache, logits = parts[0]
        for more, its in parts[1:]:
            cache, logits = cache.join(more), torch.cat([logits, its])
        if len(parts) == 1:
            return cache, logits
        order = torch.tensor([index for rows in groups.values() for index in rows], device=logits.device).argsort()
        return cache.select(order), logits[order]

    def _longest(self, context: Context) -> Context:
        fitting = [kept for kept in self._kept if context[: len(kept)] == kept]
        start = max(fitting, key=len, default=())
        if start:
            self._kept.move_to_end(start)
        return start

    def _group(self, start: Context, contexts: list[Context], span: int, empty: Empty) -> tuple[Any, Tensor]:
        """Contexts that all go on from one kept prefix (or from nothing)."""
        if not start:
            cache = empty(len(contexts), span)
            return cache, feed(self._network, contexts, cache)
        kept, after = self._kept[start]
        rests = [context[len(start) :] for context in contexts]
        if not any(rests):
            return _spread(kept, len(contexts)).join(empty(0, span)), after.expand(len(contexts), -1)
        # Only one context can equal the prefix: feeding its row on its own keeps the others in one batch.
        if not all(rests):
            whole = rests.index(())
            others = [context for context in contexts if context != start]
            cache, logits = self._group(start, others, span, empty)
            order = torch.tensor([*range(1, whole + 1), 0, *range(whole + 1, len(contexts))], device=logits.device)
            return _spread(kept, 1).join(cache).select(order), torch.cat([after, logits])[order]
        cache = _spread(kept, len(contexts)).join(empty(0, span))
        return cache, feed(self._network, rests, cache)


def feed(network: Prefilling, contexts: Sequence[Context], cache: Any) -> Tensor:
    """Prefill a row of ``cache`` a context; the logits ``[rows, V]`` after each."""
    device = cache.lengths.device
    lengths = torch.tensor([len(context) for context in contexts], device=device)
    rows = [torch.tensor(context, device=device) for context in contexts]
    return network.prefill(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths, cache)


def _spread(cache: Any, rows: int) -> Any:
    return cache.select(torch.zeros(rows, dtype=torch.int64, device=cache.lengths.device))


def _shared(left: Context, right: Context) -> Context:
    return left[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(left, right, strict=False)))]
