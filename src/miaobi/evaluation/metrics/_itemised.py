"""Figures that are made of what each held-out item gives: two models compare on them in pairs, item by item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from miaobi.evaluation.context import Context


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure as one sum over held-out items by another: float64 ``[n]`` each, in the order of the rows."""

    figure: str
    amounts: np.ndarray
    counts: np.ndarray


@runtime_checkable
class Itemised(Protocol):
    """A metric whose first figure is made of what each held-out item gives, so that two models compare in pairs."""

    def ratio(self, context: Context) -> Ratio:
        """The first figure's parts.

        Raises:
            Diverged: one is not finite.
        """
        ...
