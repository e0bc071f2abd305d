"""The times that a solver stops at: from exactly 1 (pure noise) to exactly 0 (data) in a number of steps."""

from __future__ import annotations

import math
from typing import Literal

from miaobi.errors import InvalidRecipe, UnknownName

GridName = Literal["uniform", "karras", "cosine"]
_SIGMAS = (80.0, 0.002)
_RHO = 7.0


def grid(name: GridName, steps: int) -> tuple[float, ...]:
    """``steps + 1`` strictly falling times.

    Args:
        name: ``uniform`` in time; ``karras``: even in the seventh root of noise over signal, dense near the data
            (Karras et al. 2022); ``cosine``: even in the angle whose tangent is noise over signal (Nichol and
            Dhariwal 2021), dense at neither end.
        steps: at least 1.

    Raises:
        InvalidRecipe: fewer than 1 step.
        UnknownName: with the nearest matches.
    """
    if steps < 1:
        raise InvalidRecipe("a time grid needs at least one step", given=steps, allowed="1 or more")
    made = {"uniform": _uniform, "karras": _karras, "cosine": _cosine}
    if name not in made:
        raise UnknownName("time grid", name, made)
    return (1.0, *(made[name](index, steps) for index in range(1, steps)), 0.0)


def _uniform(index: int, steps: int) -> float:
    return 1 - index / steps


def _karras(index: int, steps: int) -> float:
    high, low = (sigma ** (1 / _RHO) for sigma in _SIGMAS)
    sigma = (high + index / (steps - 1) * (low - high)) ** _RHO
    return sigma / (1 + sigma)


def _cosine(index: int, steps: int) -> float:
    angle = math.pi / 2 * (1 - index / steps)
    return math.sin(angle) / (math.sin(angle) + math.cos(angle))
