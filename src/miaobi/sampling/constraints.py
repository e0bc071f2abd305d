"""Constraints on drawn text that hold whatever is drawn, and whatever the length.

A request that is under a constraint knows at every step a way to finish its text within the tokens that it has left. A
drawn token is taken only if such a way is known after it as well; else another is drawn, and in the end the known way
is followed. So a text is never cut short of its form: as the limit nears, it is closed. What cannot be closed within
the limit from the start is refused before anything is generated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from time import thread_time

import numpy as np

from miaobi.errors import RequestError
from miaobi.sampling._grammar import State

_REPRESENTATIVES = 2
"""States kept a length of those that the same tokens may follow: most of them are the same state."""
_WIDTH = 64
_GLANCE, _QUICK, _THOROUGH = (32, 200), (512, 5_000), (1 << 31, 200_000)
"""Tokens tried a state, and in all: at every step, where a step has much room, and before the first."""
_SECONDS = 1.0
"""Of the processor, for all that is tried before the first step. Later steps are bounded by tries alone: what they find
decides what is drawn, which must not depend on the clock."""


class Constraint:
    """A form of text over one vocabulary; each request under it has a `Guard`.

    Args:
        start: where a text begins.
        what: the control that it comes from.
    """

    def __init__(self, start: State, what: str) -> None:
        self._start, self._what = start, what
        self._shortest: dict[int, list[int]] = {}

    def begin(self, limit: int) -> Guard:
        """For one request of at most ``limit`` drawn tokens.

        Raises:
            RequestError: no text of this form is that short, or none can be written with the vocabulary.
        """
        if limit not in self._shortest:
            self._shortest[limit] = self._way(limit)
        return Guard(self._start, self._shortest[limit], limit)

    def _way(self, limit: int) -> list[int]:
        # Where there is no end token, a text of no tokens could not be told from one that has not begun.
        least, until = 1 if self._start.alphabet.end is None else 0, thread_time() + _SECONDS
        way = finish(self._start, limit, least=least, effort=_QUICK, until=until)
        if way is None:
            way = finish(self._start, limit, least=least, effort=_THOROUGH, until=until)
        if way is not None:
            return way
        longer = finish(self._start, 10 * limit + 100, least=least, effort=_THOROUGH, until=until)
        if longer is None:
            raise RequestError(
                f"no text was found that meets the control {self._what} and that the model's vocabulary can write",
                cure="allow a text that is shorter, or made of characters that the model was trained on",
            )
        raise RequestError(
            f"the shortest text found that meets the control {self._what} is too long",
            given=f"{limit} tokens left",
            allowed=f"at least {len(longer)} tokens",
            cure="raise the control max_length, or loosen the constraint",
        )


class Guard:
    """One request's place in its constraint.

    Attributes:
        finished: nothing may follow, and there is no end token to say so.
    """

    def __init__(self, start: State, way: Sequence[int], left: int) -> None:
        self.finished = False
        self._state, self._way, self._left = start, list(way), left
        self._end = start.alphabet.end

    def allowed(self) -> np.ndarray:
        """Bool ``[size]``: which tokens may be drawn now."""
        allowed = self._state.allowed()
        if self._end is not None:
            allowed[self._end] = self._state.accepting
        return allowed

    def admit(self, token: int) -> bool:
        """Take a drawn token; false, and nothing changes, if the text could not be finished after it."""
        if token == self._end:
            return self._state.accepting
        state = self._state.after(token)
        way = None if state is None else self._next_way(state, token)
        if state is None or way is None:
            return False
        self._state, self._way, self._left = state, way, self._left - 1
        return True

    def known(self) -> int:
        """The token that is sure to be admitted."""
        return self._way[0] if self._way or self._end is None else self._end

    def _next_way(self, state: State, token: int) -> list[int] | None:
        left, least = self._left - 1, 1 if self._end is None else 0
        followed = self._way[:1] == [token]
        if followed and len(self._way) > least:
            return self._way[1:]
        if len(self._way) in range(1, left + 1) and state.finished_by(self._way):
            return self._way
        way = finish(state, left, least=least, tail=self._way, effort=_GLANCE)
        if way is None and left > 2 * len(self._way):
            way = finish(state, left, least=least, tail=self._way, effort=_QUICK)
        if way is None and self._end is None and state.accepting:
            self.finished = True
            return []
        return way


def finish(
    state: State,
    left: int,
    *,
    effort: tuple[int, int],
    least: int = 0,
    tail: Sequence[int] = (),
    until: float = math.inf,
) -> list[int] | None:
    """A way of ``least`` to ``left`` tokens after which the text may end; ``None`` where none was found.

    Searches by length, keeping few of the states that look alike, so it may miss the shortest way or any way at all,
    but what it gives is one. ``tail`` is how a text before finished: often this one does too, sooner or later. At
    ``until`` of the thread's clock the search is given up.
    """
    most, tries = effort
    layer: list[tuple[State, _Path]] = [(state, None)]
    for length in range(left + 1):
        for here, path in layer:
            if length >= least and here.accepting:
                return _unwound(path, ())
            if tail and length + len(tail) <= left and here.finished_by(tail):
                return _unwound(path, tail)
        if not layer or thread_time() > until:
            break
        if length < left:
            layer, tries = _longer(layer, most, tries, until)
    return None


_Path = tuple[int, "_Path"] | None
"""The last token, and the path before it."""


def _longer(
    layer: list[tuple[State, _Path]], most: int, tries: int, until: float
) -> tuple[list[tuple[State, _Path]], int]:
    """Every state one token on but for those that look alike, and how many tries are left; part of them ``until``."""
    found: list[tuple[State, _Path]] = []
    alike: dict[bytes, int] = {}
    for state, path in layer:
        if thread_time() > until:
            break
        for token in state.candidates(min(most, tries)):
            tries -= 1
            longer = state.after(token)
            if longer is None:
                continue
            key = longer.mask
            alike[key] = alike.get(key, 0) + 1
            if alike[key] <= _REPRESENTATIVES and len(found) < _WIDTH:
                found.append((longer, (token, path)))
    return found, tries


def _unwound(path: _Path, tail: Sequence[int]) -> list[int]:
    tokens: list[int] = []
    while path is not None:
        token, path = path
        tokens.append(token)
    return [*reversed(tokens), *tail]
