"""Modalities: text, image, music, speech, video, label, number. A file is a modality; the file name is its name."""

from __future__ import annotations

from typing import Any

from miaobi import plugins
from miaobi.modalities._base import Item, Modality, Raw
from miaobi.modalities._represented import EMBEDDINGS, Codec, Represented
from miaobi.modalities._truth import Truth
from miaobi.modalities._viewed import Viewed
from miaobi.recipe import Plugin, plugin_name, plugin_options

__all__ = [
    "EMBEDDINGS",
    "Codec",
    "Item",
    "Modality",
    "Raw",
    "Represented",
    "Truth",
    "Viewed",
    "create",
    "find",
    "names",
]


def names() -> list[str]:
    """Every modality's name."""
    return plugins.names(__name__)


def find(name: str) -> type[Modality]:
    """The modality class of a name.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Modality)  # type: ignore[type-abstract]


def create(plugin: Plugin, where: str = "modality") -> Modality:
    """The modality that a recipe section names, not fitted yet.

    Raises:
        UnknownName: no such modality.
        InvalidRecipe: options that its ``Config`` refuses.
    """
    found: type[Any] = find(plugin_name(plugin))
    modality: Modality = found(found.Config.parse(plugin_options(plugin), where))
    return modality
