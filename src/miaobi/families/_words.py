"""Words as runs of tokens: where one word ends and the next begins, told from how the tokens are spelled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from miaobi.modalities._scripts import UNSPACED, language
from miaobi.modalities._tokenizers import Tokenizer

Word = tuple[int, ...]
_OPEN, _BLANK, _LETTER, _MARK, _UNSPACED_LETTER = range(5)
"""Part of a character or unknown; blanks; letters and digits; other marks; letters of scripts without spaces."""


class Segmenter:
    """Cuts token sequences into words that join to the sequence again.

    A word keeps the blanks before it; marks stand alone; in scripts without spaces a token is a word, and so it is
    where tokens are not those of a text.

    Args:
        tokenizer: how tokens are spelled; ``None``: they are not a text's.
    """

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        texts = [_text(word) for word in tokenizer.words()[0]] if tokenizer else []
        self._spelled = bool(texts)
        self._blank_first = np.array([text[:1].isspace() for text in texts])
        self._first = np.array([_kind(text.strip()[:1] or text) for text in texts])
        self._last = np.array([_kind(text[-1:]) for text in texts])

    def __call__(self, tokens: np.ndarray) -> list[Word]:
        """The words of ``int64 [L]``."""
        if not len(tokens):
            return []
        starts = [0, *(np.flatnonzero(self._begins(tokens)) + 1).tolist()]
        ends = [*starts[1:], len(tokens)]
        ids: Sequence[int] = tokens.tolist()
        return [tuple(ids[start:end]) for start, end in zip(starts, ends, strict=True)]

    def _begins(self, tokens: np.ndarray) -> np.ndarray:
        """Bool ``[L - 1]``: whether a word begins at each token but the first."""
        if not self._spelled:
            return np.ones(len(tokens) - 1, dtype=bool)
        before, first = self._last[tokens[:-1]], self._first[tokens[1:]]
        lone = (first > _LETTER) | (before > _LETTER) | (first != before)
        joined = (before == _OPEN) | (first == _OPEN)
        return (before != _BLANK) & (self._blank_first[tokens[1:]] | (lone & ~joined))


def _text(spelled: bytes | None) -> str:
    """The text of a token; empty where it is no whole characters."""
    try:
        return (spelled or b"").decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _kind(letter: str) -> int:
    if not letter:
        return _OPEN
    if letter.isspace():
        return _BLANK
    if not letter.isalnum():
        return _MARK
    return _UNSPACED_LETTER if language(letter) in UNSPACED else _LETTER
