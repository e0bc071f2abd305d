"""Decoding token by token: the one engine of sampling, streaming and the server.

Requests join and leave between steps (continuous batching; Yu et al. 2022, "Orca"); each keeps its own seed, controls
and length, so what a request yields does not depend on its neighbours (up to the rounding of batched arithmetic).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from typing import Any, Protocol

import torch
from torch import Tensor

from miaobi.errors import RequestError
from miaobi.networks import replace_rows
from miaobi.sampling.drawing import Drawing
from miaobi.sampling.noise import derive_one
from miaobi.sampling.pace import Compilable, Pace
from miaobi.sampling.prefixes import Prefixes, feed
from miaobi.sampling.requests import Active, Output, Request, Token

__all__ = ["Engine", "Output", "Request", "Stepping", "Token", "decode"]

_ROWS = 256
"""Candidates of requests that keep the best of several, at once."""


class Stepping(Protocol):
    """What the engine needs of a `TokenNetwork`; counts offer it too."""

    @property
    def limit(self) -> int | None:
        """Longest sequence, or ``None``."""

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> Any:
        """See `TokenNetwork.new_cache`."""

    def prefill(self, tokens: Tensor, lengths: Tensor, cache: Any) -> Tensor:
        """See `TokenNetwork.prefill`."""

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        """See `TokenNetwork.step`."""


class Engine:
    """Continuous batching over a `TokenNetwork`.

    Args:
        network: a network in evaluation mode, or counts.
        output: which tokens may be drawn.
        slots: requests at once.
        dtype: least precise arithmetic allowed; ``None``: the parameters' own.
        prefixes: how many beginnings that requests shared are remembered (see `Prefixes`).
        compiling: whether steps are compiled; ``None``: where it pays back (see `Pace`).

    Raises:
        RequestError: ``slots`` below 1.
    """

    def __init__(
        self,
        network: Stepping,
        output: Output,
        *,
        slots: int = 2**31,
        dtype: torch.dtype | None = None,
        prefixes: int = 0,
        compiling: bool | None = False,
    ) -> None:
        if slots < 1:
            raise RequestError("an engine needs room for a request", given=f"{slots} slots", allowed="at least 1")
        self.network, self.output, self.slots, self.dtype = network, output, slots, dtype
        self.prefixes = Prefixes(network, prefixes)
        self.compiling = compiling
        self._pace = Pace.of(network, dtype) if isinstance(network, Compilable) and compiling is not False else None
        self._ids = count()
        self._active: list[Active] = []
        self._cache: Any = None
        self._room = 0
        self._logits = torch.empty(0)
        self._batch: Drawing | None = None

    def __len__(self) -> int:
        return sum(not active.done for active in self._active)

    @torch.no_grad()
    def add(self, requests: Sequence[Request]) -> list[int]:
        """Feed requests' tokens; their first drawn tokens come with the next `step`.

        Raises:
            RequestError: more requests than free slots, nothing to start from, or a constraint that cannot be met.
        """
        if len(self) + len(requests) > self.slots:
            raise RequestError("the engine is full", given=len(self) + len(requests), allowed=f"{self.slots} requests")
        if any(not request.tokens or request.limit < 1 for request in requests):
            raise RequestError("decoding needs a token to start from and room for one more")
        new = [Active(next(self._ids), request) for request in requests]
        if new:
            self._admit(new)
        return [active.id for active in new]

    def remove(self, number: int) -> None:
        """Give up a request; unknown and finished ones are ignored."""
        for active in self._active:
            active.done |= active.id == number

    @torch.no_grad()
    def step(self) -> list[Token]:
        """One token for every request under way."""
        if 2 * len(self) <= len(self._active) and not self._better_in_company():
            self._keep([active for active in self._active if not active.done])
        if self._batch is None:
            return []
        tokens, log_probs = self._batch.draw(self._logits)
        drawn = []
        for active, token, log_prob in zip(self._active, tokens.tolist(), log_probs.tolist(), strict=True):
            if not active.done:
                active.take(token, self.output.end)
                drawn.append(Token(active.id, token, log_prob, active.done))
        if len(self):
            self._feed(tokens)
        return drawn

    def _feed(self, tokens: Tensor) -> None:
        """Feed drawn tokens; a row that has reached the network's limit starts again from its newest half.

        A finished one that still waits to be let go is let go when its row is full.
        """
        full = [active for active in self._active if active.fed >= self._room]
        if full:
            rows = [row for row, active in enumerate(self._active) if active not in full]
            tokens = tokens[torch.tensor(rows, dtype=torch.int64, device=tokens.device)]
            self._keep([self._active[row] for row in rows])
        if self._batch is not None:
            self._logits = self._stepped(self._batch.spread(tokens))
            for active in self._active:
                active.fed += 1
        if any(not active.done for active in full):
            self._admit([active for active in full if not active.done])

    def _better_in_company(self) -> bool:
        """Whether the last one under way has a compiled step only among several rows."""
        network = self.network
        if self._pace is None or not isinstance(network, Compilable) or len(self) != 1:
            return False
        return network.steps_compiled(self._cache, 2) and not network.steps_compiled(self._cache, 1)

    def _stepped(self, tokens: Tensor) -> Tensor:
        if self._pace is None:
            return self.network.step(tokens, self._cache)
        left = max(active.request.limit - len(active.drawn) for active in self._active)
        # An end token may come at any step.
        sure = left if self.output.end is None else left // 2
        return self._pace.step(self.network, tokens, self._cache, sure, self.compiling)

    def _admit(self, new: list[Active]) -> None:
        """Prefill requests and put their rows in place of finished ones, or else behind those under way."""
        finished = [row for row, active in enumerate(self._active) if active.done]
        replaced = len(new) <= len(finished) and all(active.width == 1 for active in (*self._active, *new))
        cache, logits, span = self._prefilled(new, joining=replaced or len(finished) < len(self._active))
        if replaced:
            self._replace(finished[: len(new)], new, cache, logits)
            self._room = max(span, self._room)
        else:
            self._keep([active for active in self._active if not active.done])
            under_way = bool(self._active)
            self._room = max(span, self._room) if under_way else span
            self._cache = self._cache.join(cache) if under_way else cache
            self._logits = torch.cat([self._logits, logits]) if under_way else logits
            self._active = self._active + new
        self._batch = Drawing(self._active, self.output, logits.device)

    def _replace(self, places: list[int], new: list[Active], cache: Any, logits: Tensor) -> None:
        rows = torch.tensor(places, device=logits.device)
        self._cache = replace_rows(self._cache, rows, cache)
        self._logits = self._logits.index_copy(0, rows, logits)
        for place, active in zip(places, new, strict=True):
            self._active[place] = active

    def _prefilled(self, new: list[Active], *, joining: bool) -> tuple[Any, Tensor, int]:
        """A row a request (two where it is guided), the logits after each, and the longest that a row may become.

        Rows that are ``joining`` others, which have the room already, are given no more than what is fed takes.
        """
        limit = self.network.limit
        contexts = [tuple(context) for active in new for context in active.contexts(limit)]
        for active in new:
            active.fed = max(len(context) for context in active.contexts(limit))
        fresh = not any(active.drawn for active in new)
        span, sources = self._span(new, contexts), [source for active in new for source in active.sources()]
        least = max(map(len, contexts)) if joining and span <= self._room else span
        if sources[0] is None:
            cache, logits = self.prefixes.feed(contexts, least, self._empty, keep=fresh)
        else:
            # Contexts that are alike do not begin alike where each reads something of its own.
            cache = self._empty(len(contexts), least)
            cache.tell(sources)
            logits = feed(self.network, contexts, cache)
        return cache, logits, span

    def _span(self, new: list[Active], contexts: Sequence[Sequence[int]]) -> int:
        left = max(active.request.limit - len(active.drawn) for active in new)
        span = max(len(context) for context in contexts) + left
        return span if self.network.limit is None else min(span, self.network.limit)

    def _empty(self, rows: int, span: int) -> Any:
        if self._cache is None:
            self._cache = self.network.new_cache(rows, span, self.dtype)
            return self._cache
        return self._cache.empty(rows, span)

    def _keep(self, active: list[Active]) -> None:
        """Let go of every row that is not one of ``active``'s (which are some of those under way, in order)."""
        if len(active) == len(self._active):
            return
        kept = [row for a in self._active for row in [a in active] * a.width]
        rows = torch.tensor(kept, device=self._logits.device).nonzero()[:, 0]
        self._active = active
        self._cache, self._logits = self._cache.select(rows), self._logits[rows]
        self._batch = Drawing(active, self.output, rows.device) if active else None


def decode(engine: Engine, requests: Sequence[Request]) -> list[tuple[list[int], float]]:
    """Run requests to their ends: for each, its drawn tokens (the end token too) and their summed log-probability.

    Of a request's ``best_of`` candidates the one with the highest mean log-probability a token is given; the first has
    the request's own seed.
    """
    most = max((request.controls.best_of for request in requests), default=1)
    if most == 1:
        return _run(engine, requests)
    chosen = []
    for start in range(0, len(requests), max(1, _ROWS // most)):
        groups = [_candidates(request) for request in requests[start : start + max(1, _ROWS // most)]]
        made = iter(_run(engine, [candidate for group in groups for candidate in group]))
        chosen += [max((next(made) for _ in group), key=lambda item: item[1] / len(item[0])) for group in groups]
    return chosen


def _run(engine: Engine, requests: Sequence[Request]) -> list[tuple[list[int], float]]:
    """The longest first, so that none runs on alone when the others have ended; the next as soon as there is room."""
    queue = sorted(range(len(requests)), key=lambda index: requests[index].limit)
    places: dict[int, int] = {}
    results: list[tuple[list[int], list[float]]] = [([], []) for _ in requests]
    while queue or len(engine):
        free = min(len(queue), engine.slots - len(engine))
        if free:
            chosen = [queue.pop() for _ in range(free)]
            places |= dict(zip(engine.add([requests[index] for index in chosen]), chosen, strict=True))
        for number, token, log_prob, _ in engine.step():
            tokens, log_probs = results[places[number]]
            tokens.append(token)
            log_probs.append(log_prob)
    return [(tokens, sum(log_probs)) for tokens, log_probs in results]


def _candidates(request: Request) -> list[Request]:
    others = [derive_one(request.seed, "candidate", index) for index in range(1, request.controls.best_of)]
    return [request, *(replace(request, seed=seed) for seed in others)]
