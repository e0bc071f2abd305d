"""Train, validation and test without leakage: whole groups go one way, decided by content alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from miaobi.data.content import MOST_ID
from miaobi.data.reading import PARTS
from miaobi.errors import DataError
from miaobi.recipe import Split

TRAIN, VALIDATION, TEST = range(3)


@dataclass(frozen=True, slots=True)
class Assignment:
    """``parts [N]`` int8: 0 train, 1 validation, 2 test; and what is worth saying about it."""

    parts: np.ndarray
    notes: tuple[str, ...] = ()

    def rows(self, part: str) -> np.ndarray:
        """Rows of a part, in order."""
        return np.flatnonzero(self.parts == PARTS.index(part))


def assign_parts(split: Split, ids: np.ndarray, groups: np.ndarray, given: np.ndarray) -> Assignment:
    """Divide items.

    Args:
        split: how, and the shares.
        ids: ``[N]`` int64 content ids.
        groups: ``[N]`` int64, equal for items that go one way.
        given: ``[N]`` int8 parts of the source, for ``by: given``.

    Raises:
        DataError: too few items or groups for the parts asked for.
    """
    match split.by:
        case "hash":
            return Assignment(_by_hash(ids, groups, split.validation, split.test))
        case "position":
            return Assignment(_by_position(len(ids), split))
        case "given":
            return _by_given(split, ids, groups, given)


def position_ends(count: int, split: Split) -> tuple[int, int]:
    """Where training and validation end among ``count`` items or characters in order."""
    # The usual floor of the training share; shares are decimal fractions, so 0.9 of 10 must not become 8.
    train = int(count * (1 - split.validation - split.test) + 1e-6)
    return train, train + round((count - train) * split.validation / max(split.validation + split.test, 1e-9))


def _by_position(count: int, split: Split) -> np.ndarray:
    train, validation = position_ends(count, split)
    if train < 1 or (split.validation and train == validation) or (split.test and validation == count):
        raise _too_few(count, "items")
    return np.repeat(
        np.array([TRAIN, VALIDATION, TEST], dtype=np.int8), [train, validation - train, count - validation]
    )


def _by_hash(ids: np.ndarray, groups: np.ndarray, validation: float, test: float) -> np.ndarray:
    """Groups whose hash lies below ``test`` are tested on, those below ``test + validation`` validated on.

    A group's hash is its lowest id, mixed. No part gets more than twice its share, so a group too large to be held out
    is trained on. Where a part gets less than half of its share, the lowest hashes left are added until it has it.
    """
    _, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    lowest = np.full(len(sizes), MOST_ID, dtype=np.int64)
    np.minimum.at(lowest, place, ids)
    position = _uniform(lowest)
    order = np.argsort(position, kind="stable")
    part = np.full(len(sizes), TRAIN, dtype=np.int8)
    floor = 0.0
    for which, share in ((TEST, test), (VALIDATION, validation)):
        inside = order[(position[order] >= floor) & (position[order] < floor + share)]
        _take(part, which, inside, sizes, max(1, 2 * share * len(ids)))
        floor += share
    for which, share in ((TEST, test), (VALIDATION, validation)):
        wanted = max(1, round(share * len(ids)))
        if share and int(sizes[part == which].sum()) < max(1, wanted // 2):
            _take(part, which, order, sizes, max(1, 2 * wanted), enough=wanted)
    wanted_parts = [which for which, share in ((TRAIN, 1), (VALIDATION, validation), (TEST, test)) if share]
    if not set(wanted_parts) <= set(part.tolist()):
        raise _too_few(len(ids), f"items in {len(sizes)} groups, the largest of {int(sizes.max())}")
    return part[place]


def _take(
    part: np.ndarray, which: int, order: np.ndarray, sizes: np.ndarray, most: float, enough: float = math.inf
) -> None:
    """Move groups from training to ``which``, in order, until it has ``enough`` items and never more than ``most``."""
    held = int(sizes[part == which].sum())
    for group in order.tolist():
        if held >= enough:
            return
        if part[group] == TRAIN and held + int(sizes[group]) <= most:
            part[group] = which
            held += int(sizes[group])


def _by_given(split: Split, ids: np.ndarray, groups: np.ndarray, given: np.ndarray) -> Assignment:
    """The source's parts; one that it leaves empty is carved out of training by hash."""
    parts = given.copy()
    missing = {part: not (parts == part).any() for part in (TRAIN, VALIDATION, TEST)}
    if missing[TRAIN]:
        raise DataError("the split column leaves nothing to train on", allowed="train, validation and test")
    shares = (split.validation * missing[VALIDATION], split.test * missing[TEST])
    notes = [
        f"{PARTS[part]} was carved out of train"
        for part, share in zip((VALIDATION, TEST), shares, strict=True)
        if share
    ]
    if any(shares):
        rows = np.flatnonzero(parts == TRAIN)
        parts[rows] = _by_hash(ids[rows], groups[rows], *shares)
    return Assignment(parts, tuple(notes))


def _uniform(ids: np.ndarray) -> np.ndarray:
    """Ids as numbers in [0, 1), mixed so that the lowest of several is as uniform as one."""
    mixed = ids.astype(np.uint64)
    for factor in (0xBF58476D1CE4E5B9, 0x94D049BB133111EB):
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(factor)
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _too_few(count: int, what: str) -> DataError:
    return DataError(
        "there is too little data for training, validation and test",
        given=f"{count} {what}",
        cure="add data, hold out less (data.split), or drop the condition or group that joins items",
    )
