"""Reading, cleaning, duplicates and split of separate items: what `inspect` reports and `prepare` goes on from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from miaobi.data.duplicates import Duplicates, find_duplicates
from miaobi.data.plan import Plan
from miaobi.data.reading import PARTS, Reader, Staged
from miaobi.data.split import Assignment, assign_parts

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Survey:
    """Items on disk and where each goes.

    Attributes:
        staged: what was read.
        duplicates: what stays of it.
        assignment: the part of each row that stays.
    """

    staged: Staged
    duplicates: Duplicates
    assignment: Assignment

    def rows(self, part: str) -> np.ndarray:
        """Staged rows of a part, in order."""
        return self.duplicates.kept[self.assignment.rows(part)]

    def parts(self) -> np.ndarray:
        """``[N staged]`` int8: 0 train, 1 validation, 2 test, -1 left out."""
        parts = np.full(len(self.staged), -1, dtype=np.int8)
        parts[self.duplicates.kept] = self.assignment.parts
        return parts


def survey(plan: Plan, folder: Path, log: Log) -> Survey:
    """Read everything into a file in ``folder``.

    Raises:
        DataError: nothing usable, too much that is not, or too little to split.
    """
    log(f"reading {plan.source.name}")
    staged = Reader(plan).read(folder / "staged.arrow")
    log(f"{len(staged)} items read, {staged.unreadable.count} unreadable")
    policy = plan.settings.clean.duplicates
    found = find_duplicates(staged, policy, plan.columns, grouped=plan.groups)
    log(f"{len(found.kept)} items left without {found.exact.count} duplicates and {found.near.count} near duplicates")
    # Of the subject alone: a recipe with other conditions, above all another stage, divides the same items alike.
    ids, given = staged.sides[staged.subject][found.kept], staged.given[found.kept]
    assignment = assign_parts(plan.split, ids, found.groups, given)
    sizes = [f"{int((assignment.parts == number).sum())} {part}" for number, part in enumerate(PARTS)]
    log(f"split by {plan.split.by}: {', '.join(sizes)}")
    return Survey(staged, found, assignment)
