"""What makes tokens less likely, or keeps them from being drawn, because of what an item holds already."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from miaobi.sampling.logits import NEVER, penalise_repetition

if TYPE_CHECKING:
    from miaobi.sampling.requests import Active


class Repeats:
    """The n-grams of an item, and which tokens would make one of them again.

    Paulus et al. 2018, "A deep reinforced model for abstractive summarization".

    Args:
        size: n; 1 forbids every token that is already there.
        tokens: what the item starts with.
    """

    def __init__(self, size: int, tokens: Sequence[int]) -> None:
        self._size = size
        self._recent: tuple[int, ...] = ()
        self._followers: dict[tuple[int, ...], set[int]] = {}
        for token in tokens:
            self.push(token)

    def push(self, token: int) -> None:
        """The item has become one token longer."""
        if len(self._recent) == self._size - 1:
            self._followers.setdefault(self._recent, set()).add(token)
        self._recent = (*self._recent, token)[1 - self._size :] if self._size > 1 else ()

    def banned(self) -> set[int]:
        """Tokens that would make an n-gram a second time."""
        return self._followers.get(self._recent, set())


class Penalties:
    """Every penalty of the requests under way, a row each; what no request asks for costs nothing."""

    def __init__(self, active: Sequence[Active], size: int, end: int | None, device: torch.device) -> None:
        self._active, self._end = active, end
        factors = [a.request.controls.repetition_penalty for a in active]
        self._factors = torch.tensor(factors, device=device)
        self._seen = _seen(active, size, device) if any(factor != 1 for factor in factors) else None
        self._bias = _bias(active, size, device) if any(a.request.bias for a in active) else None
        self._bans = any(a.repeats is not None or a.request.shortest for a in active)

    @classmethod
    def of(cls, active: Sequence[Active], size: int, end: int | None, device: torch.device) -> Self | None:
        """``None`` where no request asks for any."""
        for a in active:
            controls = a.request.controls
            if controls.repetition_penalty != 1 or a.request.bias or a.request.shortest or a.repeats is not None:
                return cls(active, size, end, device)
        return None

    def adjust(self, logits: Tensor) -> Tensor:
        """``logits [R, V]`` with repetition and bias."""
        if self._seen is not None:
            logits = penalise_repetition(logits, self._seen, self._factors)
        return logits if self._bias is None else logits + self._bias

    def ban(self, logits: Tensor) -> Tensor:
        """Without repeated n-grams and ends that come too early; a row left with nothing keeps all, and warns."""
        under_way = [(row, a) for row, a in enumerate(self._active) if not a.done] if self._bans else []
        banned = [(row, token) for row, a in under_way for token in self._banned(a)]
        if not banned:
            return logits
        rows, tokens = torch.tensor(banned, device=logits.device).unbind(1)
        allowed = logits.index_put((rows, tokens), logits.new_tensor(NEVER))
        left = (allowed > NEVER).any(-1, keepdim=True)
        if bool(left.all()):
            return allowed
        warn_of_giving_way()
        return torch.where(left, allowed, logits)

    def observe(self, tokens: Tensor) -> None:
        """Each row has drawn one of ``tokens [R]``."""
        if self._seen is not None:
            self._seen.scatter_(1, tokens[:, None], True)

    def _banned(self, active: Active) -> set[int]:
        banned = set() if active.repeats is None else active.repeats.banned()
        early = self._end is not None and len(active.drawn) < active.request.shortest
        return banned | {self._end} if early and self._end is not None else banned


def warn_of_giving_way() -> None:
    """Say that a token was drawn which bans forbid, because nothing else could be."""
    warnings.warn(
        "no token was left to draw: no_repeat_ngram or min_length gave way for one that repeats or ends; ask for less "
        "of them, or for a shorter item",
        stacklevel=2,
    )


def _seen(active: Sequence[Active], size: int, device: torch.device) -> Tensor:
    seen = torch.zeros(len(active), size, dtype=torch.bool, device=device)
    for row, a in enumerate(active):
        tokens = [token for token in (*a.request.tokens[a.request.head :], *a.drawn) if token < size]
        seen[row, tokens] = True
    return seen


def _bias(active: Sequence[Active], size: int, device: torch.device) -> Tensor:
    bias = torch.zeros(len(active), size, device=device)
    for row, a in enumerate(active):
        for token, value in a.request.bias.items():
            bias[row, token] = value
    return bias
