"""Which chorales set the same hymn tune, so that a split keeps their variants together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

QUARTER = 480
_RUN = 6
_SHARED = 0.3
"""Share of the shorter tune's runs; unrelated tunes share under 0.2 of them, variants of one nearly always more."""


def tune_groups(chorales: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each chorale the index of the first one of its group.

    Two belong together when they are the same movement, carry the same title, or their sopranos share runs of six
    intervals between the notes on the beat, which leaves ornaments and the key out.
    """
    leader = list(range(len(chorales)))

    def find(index: int) -> int:
        while leader[index] != index:
            index = leader[index]
        return index

    def join(one: int, other: int) -> None:
        first, second = sorted((find(one), find(other)))
        leader[second] = first

    runs = [_runs(chorale["voices"][0]) for chorale in chorales]
    seen: dict[tuple[str, str], int] = {}
    for index, chorale in enumerate(chorales):
        for name in (("movement", chorale["bwv"].split("-")[0]), ("title", chorale["title"].casefold())):
            if name[1]:
                join(index, seen.setdefault(name, index))
        for other in range(index):
            if len(runs[index] & runs[other]) > _SHARED * min(len(runs[index]), len(runs[other])):
                join(index, other)
    return [find(index) for index in range(len(chorales))]


def _runs(notes: Sequence[Sequence[int]]) -> set[tuple[int, ...]]:
    pitches = [pitch for onset, _, pitch in notes if onset % QUARTER == 0]
    intervals = [after - before for before, after in pairwise(pitches)]
    return {tuple(intervals[start : start + _RUN]) for start in range(len(intervals) - _RUN + 1)}
