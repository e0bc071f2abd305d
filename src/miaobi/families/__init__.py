"""Families: an objective and a sampler around networks; the file name is its name."""

from __future__ import annotations

from miaobi import plugins
from miaobi.families._base import (
    Controls,
    Counting,
    Decoding,
    Distilling,
    Drawing,
    Editing,
    Embedding,
    Family,
    FamilyConfig,
    Latent,
    Likelihood,
    Ports,
    Predicting,
    Representing,
    Sampling,
    Showing,
    Spelling,
    require,
)

__all__ = [
    "Controls",
    "Counting",
    "Decoding",
    "Distilling",
    "Drawing",
    "Editing",
    "Embedding",
    "Family",
    "FamilyConfig",
    "Latent",
    "Likelihood",
    "Ports",
    "Predicting",
    "Representing",
    "Sampling",
    "Showing",
    "Spelling",
    "find",
    "names",
    "require",
]


def names() -> list[str]:
    """Every family's name."""
    return plugins.names(__name__)


def find(name: str) -> type[Family]:
    """The family class of a name.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Family)  # type: ignore[type-abstract]
