"""Runs of sequences that stand somewhere in other ones, of any number of which a sequence may be put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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
        sizes: lengths of runs.
    """
    codes = {element: code for code, element in enumerate(sorted({one for query in queries for one in query}), 1)}
    lines = [_coded(query, codes) for query in queries]
    wanted = [np.unique(np.concatenate([_hashes(line, size) for line in lines])) for size in sizes]
    found = [np.zeros(len(one), dtype=bool) for one in wanted]
    for batch in batches:
        others = [_coded(sequence, codes) for sequence in batch]
        for known, seen, size in zip(wanted, found, sizes, strict=True):
            hashes = np.concatenate([_hashes(line, size) for line in others])
            places = np.searchsorted(known, hashes)
            inside = places < len(known)
            seen[places[inside][known[places[inside]] == hashes[inside]]] = True
    return np.array(
        [
            [_covered(line, size, known[seen]) for line in lines]
            for size, known, seen in zip(sizes, wanted, found, strict=True)
        ]
    )


def _coded(sequence: Sequence[str], codes: dict[str, int]) -> np.ndarray:
    return np.array([codes.get(element, 0) for element in sequence], dtype=np.uint64)


def _hashes(line: np.ndarray, size: int) -> np.ndarray:
    """One hash a run of ``size`` elements, by Horner's rule modulo 2^64."""
    runs = len(line) - size + 1
    if runs < 1:
        return np.zeros(0, dtype=np.uint64)
    total = np.zeros(runs, dtype=np.uint64)
    for offset in range(size):
        total = total * _FACTOR + line[offset : offset + runs]
    # An odd factor alone leaves the last element in the low bits.
    return total ^ (total >> np.uint64(29))


def _covered(line: np.ndarray, size: int, known: np.ndarray) -> float:
    if not len(line):
        return 0.0
    starts = np.isin(_hashes(line, size), known)
    edges = np.zeros(len(line) + 1, dtype=np.int64)
    edges[: len(starts)] += starts
    edges[size : size + len(starts)] -= starts
    return float((np.cumsum(edges[:-1]) > 0).mean())
