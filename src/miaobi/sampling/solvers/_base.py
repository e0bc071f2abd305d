"""What a solver is: it takes noise to data in steps, given a denoiser."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor

from miaobi.errors import InvalidRecipe
from miaobi.types import Settings

Denoise = Callable[[Tensor, float], Tensor]
"""``(x_t [B, ...], t) -> x_0 [B, ...]``: the expected data given what is seen at time ``t`` in [0, 1]."""


class Solver(ABC):
    """Base of solvers.

    Args:
        config: validated options.
    """

    class Config(Settings):
        """The solver's options."""

    order: ClassVar[int]
    """The error after a run falls as the number of steps to minus this power: in the result where the solver is
    deterministic, in its distribution where it is not."""
    evaluations: ClassVar[int]
    """Calls of the denoiser a step; the last step may take fewer."""
    stochastic: ClassVar[bool] = False
    """Whether steps may add noise."""

    def __init__(self, config: Any = None) -> None:
        self.config: Any = config or self.Config()

    def sample(self, denoise: Denoise, x: Tensor, grid: Sequence[float], seeds: Tensor) -> Tensor:
        """Take ``x [B, ...]`` from time ``grid[0]`` through every time of the grid to ``grid[-1]``.

        Args:
            denoise: the model.
            x: at ``grid[0]``; standard normal noise where that is 1.
            grid: strictly falling times in [0, 1]; 1 is pure noise and 0 is data.
            seeds: ``[B]``, of the noise that stochastic solvers add.

        Raises:
            InvalidRecipe: a grid that does not fall, or leaves [0, 1].
        """
        _check(grid)
        return self.solve(denoise, x, tuple(grid), seeds)

    @abstractmethod
    def solve(self, denoise: Denoise, x: Tensor, grid: tuple[float, ...], seeds: Tensor) -> Tensor:
        """`sample` on a checked grid."""


def slide(x: Tensor, clean: Tensor, t: float, s: float) -> Tensor:
    """``x`` at time ``t`` moved to ``s`` along the line from the estimate ``clean``; exactly ``clean`` at ``s = 0``."""
    return clean + (s / t) * (x - clean)


def _check(grid: Sequence[float]) -> None:
    falls = all(later < earlier for earlier, later in pairwise(grid))
    if len(grid) < 2 or not falls or grid[0] > 1 or grid[-1] < 0:
        raise InvalidRecipe(
            "a solver's times must fall strictly from at most 1 to at least 0",
            given=list(grid),
            cure="take them from miaobi.sampling.time_grids",
        )
