"""What is known of an item before it is drawn: its length, and some of its tokens, which come back as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from miaobi.errors import RequestError
from miaobi.sampling.requests import Output


class Given:
    """An item's tokens, ``None`` where they are to be drawn.

    Holds whatever else shapes the drawing: at a known token nothing else may be drawn, the end token only after the
    last one, and a token that another control forbids is taken nevertheless where it is known.

    Args:
        tokens: of what is drawn, without the end token.
        output: which tokens may be drawn.

    Raises:
        RequestError: a known token that the model cannot write.
    """

    def __init__(self, tokens: Sequence[int | None], output: Output) -> None:
        for token in tokens:
            if token is not None and (
                not 0 <= token < output.size or token in (output.end, output.banned, output.unknown)
            ):
                raise RequestError("a given token does not exist", given=token, allowed=f"0 to {output.size - 1}")
        self.tokens, self.output = tuple(tokens), output

    def begin(self, limit: int) -> GivenGuard:
        """For one request of at most ``limit`` drawn tokens: what is given beyond them is left out."""
        return GivenGuard(self.tokens[:limit], self.output)


class GivenGuard:
    """One request's place in what is given.

    Attributes:
        finished: nothing may follow, and there is no end token to say so.
    """

    def __init__(self, tokens: Sequence[int | None], output: Output) -> None:
        self._tokens, self._output, self._at = tokens, output, 0
        self._free = np.ones(self._output.size, dtype=bool)
        for token in (self._output.end, self._output.banned):
            if token is not None:
                self._free[token] = False
        self.finished = not self._tokens and self._output.end is None

    def allowed(self) -> np.ndarray:
        """Bool ``[size]``: which tokens may be drawn now."""
        known = self._known()
        if known is None:
            return self._free
        only = np.zeros_like(self._free)
        only[known] = True
        return only

    def admit(self, token: int) -> bool:
        """Take a drawn token; false, and nothing changes, if another one is given."""
        if not 0 <= token < self._output.size or not self.allowed()[token]:
            return False
        self._at += 1
        self.finished = self._at >= len(self._tokens) and self._output.end is None
        return True

    def known(self) -> int:
        """A token that is sure to be admitted."""
        return int(np.flatnonzero(self.allowed())[0])

    def _known(self) -> int | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else self._output.end
