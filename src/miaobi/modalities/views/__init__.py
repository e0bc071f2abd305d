"""Views: conditions that are computed from the target; a file is a view, the file name is its name."""

from __future__ import annotations

from typing import Any

from miaobi import plugins
from miaobi.modalities.views._base import View
from miaobi.recipe import Plugin, plugin_name, plugin_options

__all__ = ["View", "create", "names"]


def names() -> list[str]:
    """Every view's name."""
    return plugins.names(__name__)


def create(plugin: Plugin, where: str = "view") -> View:
    """The view that a recipe section names.

    Raises:
        UnknownName: no such view.
        InvalidRecipe: options that its ``Config`` refuses.
    """
    found: type[Any] = plugins.load(__name__, plugin_name(plugin), View)  # type: ignore[type-abstract]
    view: View = found(found.Config.parse(plugin_options(plugin), where))
    return view
