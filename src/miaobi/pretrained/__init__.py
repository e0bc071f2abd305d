"""Public models as networks: opened by reference, fine-tuned in part or through adapters, decoded by the one engine."""

from __future__ import annotations

from miaobi import plugins
from miaobi.modalities._public_files import FORMS, STARTERS, PublicFiles, is_public, locate
from miaobi.networks import Network
from miaobi.pretrained._base import Base, open_base

__all__ = ["FORMS", "STARTERS", "Base", "PublicFiles", "find", "is_public", "locate", "names", "open_base"]


def names() -> list[str]:
    """Every network's name."""
    return plugins.names(__name__)


def find(name: str) -> type[Network]:
    """The network class of a name.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Network)  # type: ignore[type-abstract]
