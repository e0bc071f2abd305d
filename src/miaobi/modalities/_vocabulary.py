"""What a way of writing notes as tokens offers, whatever the tokens are."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Vocabulary(Protocol):
    """A vocabulary of notes for a number of voices."""

    @property
    def size(self) -> int:
        """Number of distinct tokens."""

    @property
    def streams(self) -> int:
        """Interleaved sequences: token i is of sequence ``i % streams``."""

    @property
    def hold(self) -> int | None:
        """The token that says that its sequence goes on with its last other token, where there is one."""

    def encode(self, score: Any) -> np.ndarray:
        """``int64 [L]`` tokens of a canonical score whose tracks' programs are voice numbers."""

    def decode(self, tokens: np.ndarray) -> tuple[dict[int, np.ndarray], list[tuple[int, int, int]], int]:
        """Notes ``[N, 4]`` by voice number, time signatures, and the tempo, of any tokens."""

    def notes(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The voice numbers and pitches of the notes in ``int64 [L]`` tokens, each ``[N]``."""

    def transposed(self, tokens: np.ndarray, shift: int, drums: np.ndarray) -> np.ndarray:
        """A copy with pitches moved by ``shift`` semitones, except of the voices in ``drums [voices]`` bool."""

    def whole_notes(self, tokens: np.ndarray, limit: int) -> np.ndarray:
        """The first ``limit`` tokens at most, cut where a piece can be cut."""

    def longest(self, limit: int) -> int:
        """Tokens of the longest piece that ``limit`` tokens hold."""
