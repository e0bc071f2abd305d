"""What words (or, of scripts without spaces, characters) are counted for the statistics of texts."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

_FARTHEST = 16

UNITS = {
    "word_overlap": "words",
    "pair_overlap": "words and the next",
    "companion_overlap": f"two words 2 to {_FARTHEST} apart, in whatever order",
}


def counted(words: Sequence[str]) -> list[Counter[Any]]:
    """How often each thing comes in a text, for each of `UNITS`."""
    return [Counter(words), Counter(itertools.pairwise(words)), Counter(_companions(words))]


def _companions(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for apart in range(2, _FARTHEST + 1):
        for left, right in zip(words, words[apart:], strict=False):
            yield (left, right) if left <= right else (right, left)
