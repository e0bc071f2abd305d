"""Runs of sequences that stand somewhere in other ones, of any number of which a sequence may be put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def coverage(
    queries: Sequence[Sequence[str]], batches: Iterable[Sequence[Sequence[str]]], sizes: Sequence[int]
) -> np.ndarray:
    """``[len(sizes), len(queries)]``: the share of a query's elements within a run of that size found elsewhere.

    Runs are compared by 64-bit hashes; memory grows with the queries, not with what they are looked for in.

    Args:
        queries: strings, or lists of strings.
        batches: the sequences to look in, gone through once.
        sizes: lengths of runs, ascending.
    """
    codes = {element: code for code, element in enumerate(sorted({one for query in queries for one in query}), 1)}
    asked = _Line.of(queries, codes)
    wanted = [np.unique(hashes) for _, hashes in asked.runs(sizes)]
    found = [np.zeros(len(one), dtype=bool) for one in wanted]
    for batch in batches:
        for known, seen, (_, hashes) in zip(wanted, found, _Line.of(batch, codes).runs(sizes), strict=True):
            places = np.searchsorted(known, hashes)
            inside = places < len(known)
            seen[places[inside][known[places[inside]] == hashes[inside]]] = True
    return np.array(
        [
            asked.covered(starts[np.isin(hashes, known[seen])], size)
            for size, known, seen, (starts, hashes) in zip(sizes, wanted, found, asked.runs(sizes), strict=True)
        ]
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """Sequences one after another: ``codes [n]``; ``ends [n]``, where the sequence of each ends; ``lengths`` of all."""

    codes: np.ndarray
    ends: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, sequences: Sequence[Sequence[str]], codes: dict[str, int]) -> _Line:
        """Elements that have no code, which no query has, are 0."""
        lengths = np.array([len(one) for one in sequences], dtype=np.int64)
        values = np.fromiter((codes.get(e, 0) for one in sequences for e in one), np.uint64, count=int(lengths.sum()))
        return cls(values, np.repeat(np.cumsum(lengths), lengths), lengths)

    def runs(self, sizes: Sequence[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Where the runs of each size begin, and their hashes by Horner's rule modulo 2^64."""
        count = len(self.codes)
        total = np.zeros(count, dtype=np.uint64)
        for size in range(1, max(sizes) + 1):
            kept = max(0, count - size + 1)
            total = total[:kept] * _FACTOR + self.codes[count - kept :]
            if size in sizes:
                starts = np.flatnonzero(np.arange(kept) + size <= self.ends[:kept])
                yield starts, total[starts]

    def covered(self, starts: np.ndarray, size: int) -> np.ndarray:
        """The share of each sequence that lies in runs of a size that begin there."""
        edges = np.zeros(len(self.codes) + 1, dtype=np.int64)
        np.add.at(edges, starts, 1)
        np.add.at(edges, starts + size, -1)
        inside = np.concatenate([[0], np.cumsum(np.cumsum(edges[:-1]) > 0)])
        last = np.cumsum(self.lengths)
        return (inside[last] - inside[last - self.lengths]) / np.maximum(self.lengths, 1)
