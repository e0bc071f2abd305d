"""Metrics: one group of figures a file; the file name is the group's name.

A metric is asked for as GROUP (all its figures), GROUP.FIGURE, or FIGURE where only one group has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from miaobi import plugins
from miaobi.errors import UnknownName
from miaobi.evaluation.metrics._base import Metric

__all__ = ["NO_OPTIONS", "Choice", "Metric", "Options", "check_options", "figures", "find", "names", "resolve"]

Options = Mapping[str, Mapping[str, Any]]
"""Group to its options."""
NO_OPTIONS: Options = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Choice:
    """What a name means: a group, and the figure of it that was asked for (``None``: all of them)."""

    group: str
    figure: str | None

    def metric(self, options: Options = NO_OPTIONS) -> Metric:
        """The group's metric with its options.

        Raises:
            InvalidRecipe: options that its ``Config`` refuses.
        """
        metric = find(self.group)
        given = {name.replace("-", "_"): value for name, value in options.items()}
        return metric(metric.Config.parse(given.get(self.group), f"evaluate.options.{self.group}"))


def names() -> list[str]:
    """Every group's name."""
    return plugins.names(__name__)


def find(name: str) -> type[Metric]:
    """The metric class of a group.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Metric)  # type: ignore[type-abstract]


def check_options(options: Options) -> None:
    """Refuse options of no metric, and options that their metric does not have.

    Raises:
        UnknownName: with the nearest matches.
        InvalidRecipe: options that a ``Config`` refuses.
    """
    for group, given in options.items():
        find(group).Config.parse(given, f"evaluate.options.{group}")


@cache
def figures() -> dict[str, tuple[str, ...]]:
    """The groups that have each figure."""
    found: dict[str, list[str]] = {}
    for group in names():
        for figure in find(group).figures:
            found.setdefault(figure, []).append(group)
    return {figure: tuple(groups) for figure, groups in found.items()}


def resolve(name: str) -> Choice:
    """What GROUP, GROUP.FIGURE or a unique FIGURE means; hyphens and underscores are the same.

    Raises:
        UnknownName: with the nearest matches, or with the groups that share the figure.
    """
    group, dot, figure = str(name).replace("-", "_").partition(".")
    if dot:
        known = find(group).figures
        if figure not in known:
            raise UnknownName(f"figure of {group}", figure, known)
        return Choice(group, figure)
    if group in names():
        return Choice(group, None)
    groups = figures().get(group, ())
    if len(groups) == 1:
        return Choice(groups[0], group)
    if groups:
        raise UnknownName("single figure", group, [f"{owner}.{group}" for owner in groups])
    raise UnknownName("metric", group, {*names(), *figures()})
