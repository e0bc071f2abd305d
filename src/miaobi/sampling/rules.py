"""The control ``rules``: tokens are drawn among those that keep to the content's own rules.

What the rules are is the modality's knowledge, and it hands them in (`Modality.rules`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from miaobi.sampling.given import Given
from miaobi.sampling.requests import Guarding, Output


class Rules(Protocol):
    """What a modality knows of how its items should be."""

    def guard(self, size: int, known: Sequence[int | None] = ()) -> Guarding:
        """For one item, from its first token on: which of ``size`` tokens keep to the rules.

        It takes every token, and where one is ``known`` allows all: what is given need not keep to them.
        """


@dataclass(frozen=True, slots=True)
class Ruled:
    """A request's tokens keep to rules, as far as what is given lets them.

    Attributes:
        rules: of the content.
        start: the item's tokens before the first drawn one.
        output: which tokens may be drawn.
        given: what is known of the drawn tokens: it comes first, and the rules say what is drawn beside it.
    """

    rules: Rules
    start: tuple[int, ...]
    output: Output
    given: Given | None = None

    def begin(self, limit: int) -> Guarding:
        """For one request of at most ``limit`` drawn tokens."""
        known = () if self.given is None else self.given.tokens[:limit]
        guard = self.rules.guard(self.output.size, (*self.start, *known))
        for token in self.start:
            guard.admit(token)
        return guard if self.given is None else Both(self.given.begin(limit), guard)


class Both:
    """Tokens that ``first`` and ``second`` allow; where no token is allowed by both, those of ``first``.

    Args:
        first: what has to be.
        second: what should be; it takes every token.
    """

    def __init__(self, first: Guarding, second: Guarding) -> None:
        self.first, self.second = first, second

    @property
    def finished(self) -> bool:
        """Whether nothing may follow."""
        return self.first.finished or self.second.finished

    def allowed(self) -> np.ndarray:
        """Bool ``[size]``: which tokens may be drawn now."""
        needed = self.first.allowed()
        both = needed & self.second.allowed()
        return both if both.any() else needed

    def admit(self, token: int) -> bool:
        """Take a drawn token; false, and nothing changes, if it may not be."""
        if not self.allowed()[token] or not self.first.admit(token):
            return False
        self.second.admit(token)
        return True

    def known(self) -> int:
        """A token that is sure to be admitted, as far as ``first`` is sure of what it allows."""
        return int(np.flatnonzero(self.allowed())[0])
