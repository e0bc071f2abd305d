"""Somebody who is told of every evaluation of a run and may end it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """One evaluation of a run.

    Attributes:
        step: steps done; ``steps``: those of the whole run.
        figure: the family's held-out figure; ``value``: what it is now, perhaps NaN.
        lower: whether lower is better.
    """

    step: int
    steps: int
    figure: str
    value: float
    lower: bool


Watch = Callable[[Look], str | None]
"""Told of an evaluation; a sentence that it returns is why the run ends there, as if early stopping had ended it."""
