"""Solvers of diffusion's differential equations; one a file, the file name is its name.

Every one works on the straight path ``x_t = (1 - t) x_0 + t e`` between data and normal noise, and asks its model for
one thing only: ``denoise(x_t, t)``, an estimate of ``x_0``. A process of signal ``alpha`` and noise ``sigma`` is
that path at ``t = sigma / (alpha + sigma)``, scaled by ``alpha + sigma``: every solver works with every objective.
"""

from __future__ import annotations

from typing import Any

from miaobi import plugins
from miaobi.sampling.solvers._base import Denoise, Solver

__all__ = ["Denoise", "Solver", "create", "find", "names"]


def names() -> list[str]:
    """Every solver's name."""
    return plugins.names(__name__)


def find(name: str) -> type[Solver]:
    """The solver class of a name.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Solver)  # type: ignore[type-abstract]


def create(name: str, **options: Any) -> Solver:
    """The solver of a name with its options.

    Raises:
        UnknownName: with the nearest matches.
        InvalidRecipe: an option that it does not have, or a value out of range.
    """
    kind = find(name)
    return kind(kind.Config.parse(options, f"solver {plugins.canonical(__name__, name)}"))
