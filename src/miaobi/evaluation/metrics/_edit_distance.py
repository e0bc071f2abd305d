"""How many insertions, deletions and substitutions turn one sequence into another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def edit_distance(reference: Sequence[str], answer: Sequence[str]) -> int:
    """Levenshtein 1966; symmetric, 0 for equal ones, at most the length of the longer."""
    known = {word: number for number, word in enumerate(dict.fromkeys([*reference, *answer]))}
    left, right = (np.array([known[word] for word in side], dtype=np.int64) for side in (reference, answer))
    columns = np.arange(len(right) + 1)
    costs = columns.copy()
    for row, word in enumerate(left, start=1):
        best = np.minimum(costs[1:] + 1, costs[:-1] + (right != word))
        # An insertion costs one more than the place before: with the columns taken off, that is a running minimum.
        costs = np.minimum.accumulate(np.concatenate([[row], best]) - columns) + columns
    return int(costs[-1])
