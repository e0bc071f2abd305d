"""What a tokenizer is to the text modality, and how its tokens become text one at a time."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

REPLACEMENT = "\ufffd"
"""What an unknown or invalid token is written as."""
_MOST_HELD = 16
Words = Sequence[bytes | None]


class Streamer(Protocol):
    """Turns tokens into text as they arrive, never cutting a character in two."""

    def push(self, token: int) -> str:
        """The text that ``token`` completes; empty while a character is still open."""
        ...

    def finish(self) -> str:
        """What is still held back, with an open character replaced by U+FFFD."""
        ...


class Tokenizer(ABC):
    """Text to token ids and back.

    Attributes:
        size: number of token ids; ids are ``0 .. size - 1``.
        begin: the tokenizer's own begin token; ``None`` where it has none.
        end: the tokenizer's own end token.
        unknown: what stands for text outside the vocabulary; ``None`` where every text is covered.
    """

    size: int
    begin: int | None = None
    end: int | None = None
    unknown: int | None = None

    @abstractmethod
    def pieces(self, text: str) -> Iterator[np.ndarray]:
        """The ids of a text of any length, ``int64`` a stretch at a time, in time linear in the text."""

    @abstractmethod
    def decode(self, ids: np.ndarray) -> str:
        """The text of ids; an invalid id or broken UTF-8 becomes U+FFFD, a special token nothing."""

    @abstractmethod
    def covered(self, text: str, count: int) -> int:
        """How many characters of ``text`` its first ``count`` tokens stand for."""

    @abstractmethod
    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes that a token adds to a text; U+FFFD's for an id that does not exist."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the tokenizer to an existing folder, as JSON."""

    @property
    @abstractmethod
    def newline(self) -> int | None:
        """The id of a line break; ``None`` where no single token is one."""

    def encode(self, text: str) -> np.ndarray:
        """The ids ``int64 [L]`` of a text."""
        pieces = list(self.pieces(text))
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)

    def streamer(self) -> Streamer:
        """A fresh incremental decoder: what it gives, joined, equals `decode` of all the tokens."""
        return ByteStreamer(self.token_bytes)

    def words(self) -> tuple[Words, Words]:
        """The bytes of every token after another one, and at the start of a text; ``None`` for one without its own.

        The same object twice where the place makes no difference.
        """
        words = [self.token_bytes(token) or None for token in range(self.size)]
        words = [None if word == REPLACEMENT.encode() else word for word in words]
        return words, words


def words_in_context(decode: Callable[[np.ndarray], str], size: int) -> tuple[Words, Words]:
    """`Tokenizer.words` where tokens depend on their neighbours: those that say the same after two different ones.

    Tokens that are part of a character, or change what is around them, have no text of their own and come out ``None``.
    """
    alone = [decode(np.array([token])) for token in range(size)]
    anchors = [token for token, text in enumerate(alone) if text.isascii() and text.isalnum()][:2]

    def added(anchor: int, token: int) -> str | None:
        before, both = alone[anchor], decode(np.array([anchor, token]))
        return both[len(before) :] if both.startswith(before) else None

    later: list[bytes | None] = []
    for token in range(size):
        forms = {added(anchor, token) for anchor in anchors}
        later.append(_own(forms.pop()) if len(forms) == 1 else None)
    return later, [_own(text) for text in alone]


def _own(text: str | None) -> bytes | None:
    return text.encode() if text and REPLACEMENT not in text else None


class ByteStreamer:
    """A `Streamer` for tokenizers whose tokens are bytes."""

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: int) -> str:
        return self._decoder.decode(self._token_bytes(token))

    def finish(self) -> str:
        return self._decoder.decode(b"", final=True)


class WindowStreamer:
    """A `Streamer` for tokenizers whose tokens depend on their neighbours (spaces between words, byte fallback).

    The last token shown stays in the window as context; text that ends in U+FFFD is held back, at most 16 tokens long.
    """

    def __init__(self, decode: Callable[[np.ndarray], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._shown = ""

    def push(self, token: int) -> str:
        self._window.append(token)
        text = self._decode(np.array(self._window))
        if text.endswith(REPLACEMENT) and len(self._window) < _MOST_HELD:
            return ""
        return self._release(text)

    def finish(self) -> str:
        return self._release(self._decode(np.array(self._window))) if self._window else ""

    def _release(self, text: str) -> str:
        fresh = text[len(self._shown) :]
        self._window = self._window[-1:]
        self._shown = self._decode(np.array(self._window))
        return fresh
