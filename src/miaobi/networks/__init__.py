"""Networks: one architecture a file; the file name is its name, the paper is cited in its docstring."""

from __future__ import annotations

from miaobi import plugins
from miaobi.networks._attention import Attending, Look
from miaobi.networks._base import Cache, Network, NetworkConfig, SizeTable, TokenNetwork, embed_tokens, replace_rows
from miaobi.networks._conditioner import Conditioner, Conditioning
from miaobi.networks._reading import ReadingNetwork

__all__ = [
    "Attending",
    "Cache",
    "Conditioner",
    "Conditioning",
    "Look",
    "Network",
    "NetworkConfig",
    "ReadingNetwork",
    "SizeTable",
    "TokenNetwork",
    "embed_tokens",
    "find",
    "names",
    "replace_rows",
]


def names() -> list[str]:
    """Every network's name."""
    return plugins.names(__name__)


def find(name: str) -> type[Network]:
    """The network class of a name.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Network)  # type: ignore[type-abstract]
