"""Shortcuts: a flow that is told how far to go (Frans, Hafner, Levine and Abbeel 2024, "One step diffusion via shortcut
models").

A network told the size of a step says the average velocity over it; told 0, the velocity itself. A step is learnt from
the two halves that make it up, the finest halves from the velocity, so that one network samples in any of 1, 2, 4, ...
steps. On the straight path from noise (1) to data (0) a step of size d goes from t to t - d.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from miaobi.errors import InvalidRecipe
from miaobi.families._paths import spread
from miaobi.sampling.noise import integers, uniform

FINEST = 128
"""Steps in which the flow's velocity itself is followed."""
_LEVELS = FINEST.bit_length() - 1

Average = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(x_t [B, ...], t [B], size told [B]) -> the average velocity [B, ...]``."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The items of a batch that learn a shortcut.

    Attributes:
        rows: ``[N]`` indices of them.
        half: ``[N]``, half a step: 1/128, 1/64, ..., 1/2.
        t: ``[N]`` in (0, 1], where the step begins: a multiple of its size.
    """

    rows: Tensor
    half: Tensor
    t: Tensor


def draw(seeds: Tensor, share: float) -> Drawn:
    """Which items of a batch, from what time and how far; every size and each of its places is as likely."""
    rows = (uniform(seeds, "shortcut") < share).nonzero()[:, 0]
    own = seeds[rows]
    level = integers(own, "shortcut size", _LEVELS)
    count = 2**level
    place = (uniform(own, "shortcut time") * count).floor()
    return Drawn(rows, 0.5 / count, (1 + place) / count)


def told(size: Tensor) -> Tensor:
    """What the network is told of a step's size: 0 for the finest."""
    return torch.where(size * FINEST > 1, size, 0.0)


def told_in(steps: int) -> float:
    """What the network is told in so many even steps.

    Raises:
        InvalidRecipe: a number of steps whose size was never learnt.
    """
    if steps >= FINEST:
        return 0.0
    if steps & (steps - 1):
        raise InvalidRecipe(
            "a shortcut's steps are a power of two",
            given=f"steps {steps}",
            allowed=", ".join(str(2**level) for level in range(_LEVELS)),
            cure=f"take one of these, or {FINEST} and more; or another solver, which follows the flow itself",
        )
    return 1 / steps


def from_halves(average: Average, x: Tensor, t: Tensor, half: Tensor) -> Tensor:
    """The average velocity over the step of twice ``half [N]`` from ``x`` at ``t [N]``, by two steps of ``half``."""
    size = told(half)
    first = average(x, t, size)
    second = average(x - spread(half, x) * first, t - half, size)
    return (first + second) / 2
