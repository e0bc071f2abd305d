"""Text as its tokens arrive: whole characters only, and nothing from a stop string on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol


class Streamer(Protocol):
    """Turns tokens into text without ever cutting a character in two; tokenizers make them."""

    def push(self, token: int) -> str:
        """The text that a token completes."""

    def finish(self) -> str:
        """What is still held back."""


class TextStream:
    """The text that drawn tokens add to a prefix.

    What it gives, joined, is the whole text up to the first stop string. Text that a stop string could begin with is
    held back until it is known not to.

    Args:
        streamer: fresh.
        stops: strings that end the text, and are not part of it.
        prefix: the tokens before the first drawn one; their text is not given.
    """

    def __init__(self, streamer: Streamer, stops: Sequence[str] = (), prefix: Iterable[int] = ()) -> None:
        self._streamer, self._stops = streamer, tuple(stops)
        self._held = ""
        self.stopped = False
        for token in prefix:
            streamer.push(token)

    def push(self, token: int) -> str:
        """The text that became certain with ``token``; nothing after a stop string."""
        return self._release(self._streamer.push(token), last=False)

    def finish(self) -> str:
        """The rest, with a character that was never completed as U+FFFD."""
        return self._release(self._streamer.finish(), last=True)

    def _release(self, text: str, last: bool) -> str:
        if self.stopped:
            return ""
        text = self._held + text
        place = find_stop(text, self._stops)
        if place is not None:
            self.stopped, self._held = True, ""
            return text[:place]
        kept = 0 if last else _open(text, self._stops)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]


def find_stop(text: str, stops: Iterable[str], start: int = 0) -> int | None:
    """Where the first of ``stops`` begins at or after ``start``; ``None`` where there is none."""
    places = [place for stop in stops if (place := text.find(stop, start)) >= 0]
    return min(places, default=None)


def _open(text: str, stops: Sequence[str]) -> int:
    """Characters at the end of ``text`` that a stop string could begin with."""
    longest = 0
    for stop in stops:
        sizes = range(min(len(stop) - 1, len(text)), longest, -1)
        longest = next((size for size in sizes if text.endswith(stop[:size])), longest)
    return longest
