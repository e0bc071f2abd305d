"""What the decoding engine is asked for, what it answers with, and how far each request is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from miaobi.sampling.logits import NEVER
from miaobi.sampling.penalties import Repeats
from miaobi.sampling.streaming import TextStream
from miaobi.sampling.token_controls import TokenControls


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


class Guarding(Protocol):
    """One request's place in what constrains it."""

    @property
    def finished(self) -> bool:
        """Whether nothing may follow, where there is no end token to say so."""

    def allowed(self) -> np.ndarray:
        """Bool ``[size]``: which tokens may be drawn now."""

    def admit(self, token: int) -> bool:
        """Take a drawn token; false, and nothing changes, if it may not be."""

    def known(self) -> int:
        """A token that is sure to be admitted."""


class Constraining(Protocol):
    """What a request's drawn tokens must be: a text's form (`Constraint`) or contents, or an item in part (`Given`)."""

    def begin(self, limit: int) -> Guarding:
        """For one request of at most ``limit`` drawn tokens.

        Raises:
            RequestError: it cannot be met within them.
        """


@dataclass(frozen=True, slots=True)
class Request:
    """One item to decode.

    Attributes:
        tokens: network tokens fed before the first drawn one; at least one.
        head: how many of them (conditions and begin) stay when the rest slides out of the network's limit.
        seed: of its random numbers.
        limit: tokens to draw at most.
        free: ``tokens`` with conditions absent, for guidance; needed where ``controls.guidance`` is not 1.
        shortest: tokens to draw before the end may be.
        bias: what is added to the logits of tokens.
        constraint: what is drawn must be or hold.
        watch: makes the text of what is drawn, which ends the request once it holds a stop string.
        source: what a network that reads its conditions is told (`ReadingNetwork.sources`), for all requests or none.
        free_source: the same with conditions absent.
    """

    tokens: tuple[int, ...]
    head: int
    seed: int
    limit: int
    controls: TokenControls = field(default_factory=TokenControls)
    free: tuple[int, ...] | None = None
    shortest: int = 0
    bias: Mapping[int, float] = field(default_factory=dict)
    constraint: Constraining | None = None
    watch: Callable[[], TextStream] | None = None
    source: Any = None
    free_source: Any = None


class Token(NamedTuple):
    """A drawn token: ``log_prob`` in nats under the model, before any control; ``done`` with the last one."""

    id: int
    token: int
    log_prob: float
    done: bool


class Active:
    """A request under way; a guided one has a second row of the cache, fed without conditions.

    Raises:
        RequestError: its constraint cannot be met within its limit.
    """

    def __init__(self, number: int, request: Request) -> None:
        self.id, self.request = number, request
        self.drawn: list[int] = []
        self.fed = 0
        self.done = False
        self.guided = request.controls.guidance != 1 and request.free is not None
        self.width = 1 + self.guided
        self.guard = None if request.constraint is None else request.constraint.begin(request.limit)
        size = request.controls.no_repeat_ngram
        self.repeats = None if size is None else Repeats(size, request.tokens[request.head :])
        self.text = None if request.watch is None else request.watch()

    def take(self, token: int, end: int | None) -> None:
        """Record a drawn token."""
        self.drawn.append(token)
        self.done = token == end or len(self.drawn) >= self.request.limit
        if self.guard is not None:
            self.done |= self.guard.finished
        if self.repeats is not None:
            self.repeats.push(token)
        if self.text is not None and token != end:
            self.text.push(token)
            self.done |= self.text.stopped

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
