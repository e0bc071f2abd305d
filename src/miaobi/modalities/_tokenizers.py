"""What a tokenizer is to the text modality, and how its tokens become text one at a time."""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

REPLACEMENT = "\ufffd"
"""What an unknown or invalid token is written as."""
_MOST_HELD = 16


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
