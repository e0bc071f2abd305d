"""How much of a sequence is copied from one training item: shared character (or token) n-grams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import vstack
from sklearn.feature_extraction.text import HashingVectorizer

_BUCKETS = 1 << 22
_END = "\x00"


class Overlap:
    """Distance of sequences to the nearest of any number of others: one less the share of their n-grams found in it.

    0: every n-gram is in one training item; 1: none. N-grams are hashed into 4 million buckets, so chance collisions
    lower a distance by about a thousandth in long texts. A sequence shorter than n is padded by an end mark, so that
    only an equal one is near.

    Args:
        queries: sequences to find neighbours of: strings, or token ids as lists of strings.
        order: n.
    """

    def __init__(self, queries: Sequence[Sequence[str]], order: int) -> None:
        self._hash = HashingVectorizer(
            analyzer=lambda sequence: _ngrams(sequence, order),
            n_features=_BUCKETS,
            binary=True,
            alternate_sign=False,
            norm=None,
            dtype=np.float32,
        )
        self._queries = self._hash.transform(queries)
        self._own = np.asarray(self._queries.sum(1)).ravel()

    def nearest(self, batches: Iterable[Sequence[Sequence[str]]]) -> tuple[np.ndarray, np.ndarray]:
        """Each query's smallest distance to the sequences of ``batches``, and that one's position among them all."""
        best = np.full(len(self._own), -1.0)
        where = np.zeros(len(self._own), dtype=np.int64)
        offset = 0
        for batch in batches:
            shared = (self._queries @ self._hash.transform(batch).T).toarray()
            column = shared.argmax(1)
            found = shared[np.arange(len(best)), column] / np.maximum(self._own, 1)
            where = np.where(found > best, column + offset, where)
            best = np.maximum(best, found)
            offset += len(batch)
        return 1 - best, where

    def pasted(self, batches: Callable[[], Iterable[Sequence[Sequence[str]]]]) -> np.ndarray:
        """Each query's distance to the two sequences that have most of it: the nearest, then what has most of the rest.

        Args:
            batches: gives the sequences anew, because they are gone through four times.
        """
        rest = self._queries.copy()
        for _ in range(2):
            own = Overlap.__new__(Overlap)
            own._hash, own._queries, own._own = self._hash, rest, np.asarray(rest.sum(1)).ravel()
            _, where = own.nearest(batches())
            rest = rest - rest.multiply(self._rows(batches(), where))
        return np.asarray(rest.sum(1)).ravel() / np.maximum(self._own, 1)

    def _rows(self, batches: Iterable[Sequence[Sequence[str]]], where: np.ndarray) -> Any:
        """The n-grams of the sequences at ``where``, a row each."""
        wanted: dict[int, Any] = dict.fromkeys(where.tolist())
        offset = 0
        for batch in batches:
            for place in sorted(wanted.keys() & range(offset, offset + len(batch))):
                wanted[place] = self._hash.transform([batch[place - offset]])
            offset += len(batch)
        return vstack([wanted[place] for place in where.tolist()], format="csr")


def longest_common(left: Sequence[str], right: Sequence[str]) -> int:
    """Length of the longest run of consecutive elements that two sequences share, by a row of dynamic programming."""
    codes = {element: code for code, element in enumerate(dict.fromkeys(right))}
    line = np.array([codes[element] for element in right], dtype=np.int64)
    run = np.zeros(len(line) + 1, dtype=np.int64)
    longest = 0
    for element in left:
        run[1:] = np.where(line == codes.get(element, -1), run[:-1] + 1, 0)
        longest = max(longest, int(run.max()))
    return longest


def shared_in_order(left: Sequence[str], right: Sequence[str]) -> float:
    """The share of ``left`` that is a common subsequence with ``right``: 1 for a copy with anything put between.

    The longest one, by the bit-parallel recurrence of Hyyro 2004, "Bit-parallel LCS-length computation revisited".
    """
    if not left:
        return float(not right)
    places: dict[str, int] = {}
    for place, element in enumerate(right):
        places[element] = places.get(element, 0) | 1 << place
    every = (1 << len(right)) - 1
    line = every
    for element in left:
        both = line & places.get(element, 0)
        line = (line + both | line - both) & every
    return (len(right) - line.bit_count()) / len(left)


def _ngrams(sequence: Sequence[str], order: int) -> list[str]:
    elements = [*sequence, *[_END] * (order - len(sequence))]
    return [_END.join(elements[i : i + order]) for i in range(len(elements) - order + 1)]
