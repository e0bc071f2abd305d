"""Texts with gaps: what of a file stays, and which tokens are to be made.

Every ``_`` and every ``□`` (U+25A1, which stands for a lost character in editions of old texts) is a gap of one token:
a character where tokens are characters, and as a rule several letters where they are sub-words. With a mask, a second
text as long as the first, those are gaps that have such a mark at their place in the mask, and marks in the text are
text; of sub-words, each token with a marked character is made anew.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from miaobi.errors import DataError
from miaobi.modalities._tokenizers import Tokenizer

MARKS = "_□"
_PART, _BYTES = "\ufffd", 4
"""What part of a character is read as, and the most bytes that one has."""
_RUNS = re.compile(f"([{MARKS}]+)")


@dataclass(frozen=True, slots=True)
class Gapped:
    """A text with gaps.

    Attributes:
        pieces: in order, text that stays or the number of tokens of a gap.
        tokens: ``int64 [L]`` of the whole; 0 in gaps.
        gaps: ``bool [L]``.
    """

    pieces: tuple[str | int, ...]
    tokens: np.ndarray
    gaps: np.ndarray

    def filled(self, tokens: np.ndarray, decode: Callable[[np.ndarray], str]) -> str:
        """The text with its gaps filled from ``tokens [L]``; all else is as it was, whatever its tokens can spell."""
        drawn, parts = list(tokens[self.gaps]), []
        for piece in self.pieces:
            if isinstance(piece, str):
                parts.append(piece)
            else:
                parts.append(decode(np.array(drawn[:piece], dtype=np.int64)))
                del drawn[:piece]
        return "".join(parts)


def gapped(text: str, mask: str | None, tokenizer: Tokenizer, longest: int) -> Gapped:
    """A text as its marks, or its mask's, divide it.

    Args:
        text: what is edited; line breaks at its end are the file's, not the text's.
        mask: a text as long, marked where the first one is to be made anew; ``None``: the text has the marks.
        tokenizer: the model's.
        longest: in tokens, that the model was trained on.

    Raises:
        DataError: no gap, a mask of another length, or a text that is too long.
    """
    text = text.rstrip("\n")
    made = _marked(text, tokenizer) if mask is None else _masked(text, mask.rstrip("\n"), tokenizer)
    if not made.gaps.any():
        raise DataError(
            "there is no gap to fill in",
            given=mask if mask is not None else text,
            cure=f"mark each missing character with one of {' '.join(MARKS)}",
        )
    if len(made.tokens) > longest:
        raise DataError(
            "the text is longer than what the model was trained on",
            given=f"{len(made.tokens)} tokens",
            allowed=f"up to {longest}",
            cure="give a shorter passage around the gaps",
        )
    return made


def _marked(text: str, tokenizer: Tokenizer) -> Gapped:
    pieces: list[str | int] = []
    tokens: list[np.ndarray] = []
    gaps: list[np.ndarray] = []
    for index, part in enumerate(_RUNS.split(text)):
        if not part:
            continue
        is_gap = index % 2 == 1
        found = np.zeros(len(part), dtype=np.int64) if is_gap else tokenizer.encode(part)
        pieces.append(len(part) if is_gap else part)
        tokens.append(found)
        gaps.append(np.full(len(found), is_gap))
    return Gapped(tuple(pieces), _joined(tokens, np.int64), _joined(gaps, np.bool_))


def _masked(text: str, mask: str, tokenizer: Tokenizer) -> Gapped:
    if len(mask) != len(text):
        raise DataError(
            "the mask is not as long as the text",
            given=f"{len(mask)} characters for {len(text)}",
            cure="write the mask as a copy of the text with marks in place of what is to be made anew",
        )
    tokens = tokenizer.encode(text)
    ends = [tokenizer.covered(text, count) for count in range(len(tokens) + 1)]
    # A mark of the mask that the text has in the same place is the text's own, unless no text has such a letter.
    marked = [mark == MARKS[-1] or (mark in MARKS and mark != letter) for letter, mark in zip(text, mask, strict=True)]
    # Of a character in several tokens only the first moves the end; the others belong to it too.
    spans = [(max(0, min(start, end - 1)), end) for start, end in itertools.pairwise(ends)]
    gaps = np.array([any(marked[start:end]) for start, end in spans], dtype=np.bool_)
    for group in _whole(text, tokens, ends, tokenizer):
        gaps[group] = gaps[group].any()
    pieces: list[str | int] = []
    for index, is_gap in enumerate(gaps.tolist()):
        last = pieces[-1] if pieces else None
        kept = text[ends[index] : ends[index + 1]]
        if is_gap:
            pieces[-1:] = [last + 1] if isinstance(last, int) else [*pieces[-1:], 1]
        else:
            pieces[-1:] = [last + kept] if isinstance(last, str) else [*pieces[-1:], kept]
    return Gapped(tuple(pieces), np.where(gaps, 0, tokens), gaps)


def _whole(text: str, tokens: np.ndarray, ends: list[int], tokenizer: Tokenizer) -> list[slice]:
    """Runs of tokens that begin and end between characters: a token may end with a part of one."""
    starts = [0]
    for place in range(1, len(tokens)):
        written = tokenizer.decode(tokens[max(0, place - _BYTES) : place])
        unknown = int(tokens[place - 1]) == tokenizer.unknown
        if unknown or not written.endswith(_PART) or text[: ends[place]].endswith(_PART):
            starts.append(place)
    return [slice(start, end) for start, end in itertools.pairwise([*starts, len(tokens)])]


def _joined(parts: list[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=dtype)
