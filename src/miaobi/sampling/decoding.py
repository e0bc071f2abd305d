"""Decoding token by token: the one engine of sampling, streaming and the server.

Requests join and leave between steps (continuous batching; Yu et al. 2022, "Orca"); each keeps its own seed, controls
and length, so what a request yields does not depend on its neighbours (up to the rounding of batched arithmetic).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from miaobi.errors import RequestError
from miaobi.sampling.logits import NEVER, guide
from miaobi.sampling.noise import uniform
from miaobi.sampling.token_controls import Chooser, TokenControls

_DRAWS = 256
"""Fewest random numbers made at a time."""


@dataclass(frozen=True, slots=True)
class Output:
    """Which of a network's tokens may be drawn.

    Attributes:
        size: tokens ``0 .. size - 1`` may be.
        end: the token that ends an item; ``None``: only length does.
        banned: one token below ``size`` that may not be (a tokenizer's own begin token).
        unknown: one that has probability, yet says nothing when it is drawn, so it is not.
    """

    size: int
    end: int | None = None
    banned: int | None = None
    unknown: int | None = None

    def restrict(self, logits: Tensor) -> Tensor:
        """``[..., V]`` to float32 ``[..., size]``, minus infinity at the banned token."""
        logits = logits[..., : self.size].float()
        if self.banned is None:
            return logits
        banned = torch.arange(self.size, device=logits.device) == self.banned
        return logits.masked_fill(banned, NEVER)


@dataclass(frozen=True, slots=True)
class Request:
    """One item to decode.

    Attributes:
        tokens: network tokens fed before the first drawn one; at least one.
        head: how many of them (conditions and begin) stay when the rest slides out of the network's limit.
        seed: of its random numbers.
        limit: tokens to draw at most.
        free: ``tokens`` with conditions absent, for guidance; needed where ``controls.guidance`` is not 1.
        source: what a network that reads its conditions is told (`ReadingNetwork.sources`), for all requests or none.
        free_source: the same with conditions absent.
    """

    tokens: tuple[int, ...]
    head: int
    seed: int
    limit: int
    controls: TokenControls = field(default_factory=TokenControls)
    free: tuple[int, ...] | None = None
    source: Any = None
    free_source: Any = None


class Token(NamedTuple):
    """A drawn token: ``log_prob`` in nats under the model, before any control; ``done`` with the last one."""

    id: int
    token: int
    log_prob: float
    done: bool


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
    """

    def __init__(
        self, network: Stepping, output: Output, *, slots: int = 2**31, dtype: torch.dtype | None = None
    ) -> None:
        self.network, self.output, self.slots, self.dtype = network, output, slots, dtype
        self._ids = count()
        self._active: list[_Active] = []
        self._cache: Any = None
        self._logits = torch.empty(0)
        self._batch: _Drawing | None = None

    def __len__(self) -> int:
        return sum(not active.done for active in self._active)

    @torch.no_grad()
    def add(self, requests: Sequence[Request]) -> list[int]:
        """Feed requests' tokens; their first drawn tokens come with the next `step`.

        Raises:
            RequestError: more requests than free slots, or nothing to start from.
        """
        if len(self) + len(requests) > self.slots:
            raise RequestError("the engine is full", given=len(self) + len(requests), allowed=f"{self.slots} requests")
        if any(not request.tokens or request.limit < 1 for request in requests):
            raise RequestError("decoding needs a token to start from and room for one more")
        new = [_Active(next(self._ids), request) for request in requests]
        if new:
            self._keep([active for active in self._active if not active.done])
            self._admit(new)
        return [active.id for active in new]

    def remove(self, number: int) -> None:
        """Give up a request; unknown and finished ones are ignored."""
        for active in self._active:
            active.done |= active.id == number

    @torch.no_grad()
    def step(self) -> list[Token]:
        """One token for every request under way."""
        if 2 * len(self) <= len(self._active):
            self._keep([active for active in self._active if not active.done])
        if self._batch is None:
            return []
        tokens, log_probs = self._batch.draw(self._logits, self.output)
        drawn = []
        for active, token, log_prob in zip(self._active, tokens.tolist(), log_probs.tolist(), strict=True):
            if not active.done:
                active.take(token, self.output.end)
                drawn.append(Token(active.id, token, log_prob, active.done))
        if len(self):
            self._feed(tokens)
        return drawn

    def _feed(self, tokens: Tensor) -> None:
        """Feed drawn tokens; a row that has reached the network's limit starts again from its newest half."""
        limit = self.network.limit
        full = [active for active in self._active if limit is not None and active.fed >= limit]
        if full:
            rows = [row for row, active in enumerate(self._active) if active not in full]
            tokens = tokens[torch.tensor(rows, dtype=torch.int64, device=tokens.device)]
            self._keep([self._active[row] for row in rows])
        if self._batch is not None:
            self._logits = self.network.step(self._batch.spread(tokens), self._cache)
            for active in self._active:
                active.fed += 1
        if any(not active.done for active in full):
            self._admit([active for active in full if not active.done])

    def _admit(self, new: list[_Active]) -> None:
        """Prefill requests and put their rows behind those under way."""
        contexts = [context for active in new for context in active.contexts(self.network.limit)]
        cache = self._new_cache(new, contexts)
        device = cache.lengths.device
        lengths = torch.tensor([len(context) for context in contexts], device=device)
        rows = [torch.tensor(context, device=device) for context in contexts]
        logits = self.network.prefill(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths, cache)
        under_way = bool(self._active)
        self._cache = self._cache.join(cache) if under_way else cache
        self._logits = torch.cat([self._logits, logits]) if under_way else logits
        self._active = self._active + new
        self._batch = _Drawing(self._active, self.output.size, device)

    def _new_cache(self, new: list[_Active], contexts: list[list[int]]) -> Any:
        left = max(active.request.limit - len(active.drawn) for active in new)
        span = max(len(context) for context in contexts) + left
        span = span if self.network.limit is None else min(span, self.network.limit)
        for active in new:
            active.fed = max(len(context) for context in active.contexts(self.network.limit))
        first = self._cache is None
        cache = (
            self.network.new_cache(len(contexts), span, self.dtype) if first else self._cache.empty(len(contexts), span)
        )
        sources = [source for active in new for source in active.sources()]
        if sources[0] is not None:
            cache.tell(sources)
        return cache

    def _keep(self, active: list[_Active]) -> None:
        """Let go of every row that is not one of ``active``'s (which are some of those under way, in order)."""
        if len(active) == len(self._active):
            return
        kept = [row for a in self._active for row in [a in active] * a.width]
        rows = torch.tensor(kept, device=self._logits.device).nonzero()[:, 0]
        self._active = active
        self._cache, self._logits = self._cache.select(rows), self._logits[rows]
        self._batch = _Drawing(active, self.output.size, rows.device) if active else None


def decode(engine: Engine, requests: Sequence[Request]) -> list[tuple[list[int], float]]:
    """Run requests to their ends: for each, its drawn tokens (the end token too) and their summed log-probability."""
    results: dict[int, tuple[list[int], list[float]]] = {number: ([], []) for number in engine.add(requests)}
    while len(engine):
        for number, token, log_prob, _ in engine.step():
            results[number][0].append(token)
            results[number][1].append(log_prob)
    return [(tokens, sum(log_probs)) for tokens, log_probs in results.values()]


class _Active:
    """A request under way; a guided one has a second row of the cache, fed without conditions."""

    def __init__(self, number: int, request: Request) -> None:
        self.id, self.request = number, request
        self.drawn: list[int] = []
        self.fed = 0
        self.done = False
        self.guided = request.controls.guidance != 1 and request.free is not None
        self.width = 1 + self.guided

    def take(self, token: int, end: int | None) -> None:
        """Record a drawn token."""
        self.drawn.append(token)
        self.done = token == end or len(self.drawn) >= self.request.limit

    def contexts(self, limit: int | None) -> list[list[int]]:
        """What each of its rows is fed: everything or, past the limit, the head and the newest half of what fits."""
        starts = [self.request.tokens, self.request.free] if self.guided else [self.request.tokens]
        return [self._context(start or (), limit) for start in starts]

    def sources(self) -> list[Any]:
        """What each of its rows reads."""
        return [self.request.source, self.request.free_source][: self.width]

    def _context(self, start: tuple[int, ...], limit: int | None) -> list[int]:
        tokens = [*start, *self.drawn]
        if limit is None or len(tokens) <= limit:
            return tokens
        head = self.request.head - len(self.request.tokens) + len(start)
        return tokens[:head] + tokens[max(head, len(tokens) - max(1, (limit - head) // 2)) :]


class _Drawing:
    """What a step needs of the requests under way, as tensors; made anew when they change."""

    def __init__(self, active: list[_Active], size: int, device: torch.device) -> None:
        owners = [index for index, a in enumerate(active) for _ in range(a.width)]
        guided = [index for index, a in enumerate(active) if a.guided]
        self.owners = torch.tensor(owners, device=device) if guided else None
        self.main = torch.tensor([owners.index(index) for index in range(len(active))], device=device)
        self.guided = torch.tensor(guided, dtype=torch.int64, device=device)
        self.scales = torch.tensor([active[index].request.controls.guidance for index in guided], device=device)
        self.choose = Chooser([a.request.controls for a in active], device)
        self.seeds = torch.tensor([a.request.seed for a in active])
        self.longest = max(len(a.drawn) for a in active)
        self.counts = torch.tensor([[len(a.drawn)] for a in active], device=device)
        self.uniforms = self._uniforms()
        self.seen = _seen(active, size, device) if self.choose.any_penalty else None

    def draw(self, logits: Tensor, output: Output) -> tuple[Tensor, Tensor]:
        """A token ``[R]`` a request, and its log-probability ``[R]`` before any control."""
        logits = output.restrict(logits)
        shaped = own = logits if self.owners is None else logits[self.main]
        if self.owners is not None:
            mixed = guide(own[self.guided], logits[self.main[self.guided] + 1], self.scales)
            shaped = own.index_copy(0, self.guided, mixed)
        if output.unknown is not None:
            shaped = shaped.index_fill(1, torch.tensor([output.unknown], device=shaped.device), NEVER)
        if self.longest >= self.uniforms.shape[1]:
            self.uniforms = self._uniforms()
        tokens = self.choose(shaped, self.uniforms.gather(1, self.counts)[:, 0], self.seen)
        if self.seen is not None:
            self.seen.scatter_(1, tokens[:, None], True)
        self.counts = self.counts + 1
        self.longest += 1
        return tokens, own.log_softmax(-1).gather(1, tokens[:, None])[:, 0]

    def spread(self, tokens: Tensor) -> Tensor:
        """Tokens of requests ``[R]`` to tokens of rows."""
        return tokens if self.owners is None else tokens[self.owners]

    def _uniforms(self) -> Tensor:
        """``[R, T]`` with T a power of two beyond the longest: number t depends on the seed and t alone."""
        return uniform(self.seeds, "token", (max(_DRAWS, 2 ** (self.longest + 1).bit_length()),)).to(self.counts.device)


def _seen(active: list[_Active], size: int, device: torch.device) -> Tensor:
    seen = torch.zeros(len(active), size, dtype=torch.bool, device=device)
    for row, a in enumerate(active):
        tokens = [token for token in (*a.request.tokens[a.request.head :], *a.drawn) if token < size]
        seen[row, tokens] = True
    return seen
