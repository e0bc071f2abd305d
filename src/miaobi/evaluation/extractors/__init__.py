"""Named feature extractors for distribution distances; a file is an extractor, the file name is its name.

A modality's ``extractor`` names its default. Features of anything else go in one new file here.
"""

from __future__ import annotations

from functools import cache

from miaobi import plugins
from miaobi.errors import Unsupported
from miaobi.evaluation.extractors._base import Extractor
from miaobi.evaluation.extractors._store import stored_features
from miaobi.modalities import Modality

__all__ = ["Extractor", "choose", "create", "find", "names", "stored_features"]


def names() -> list[str]:
    """Every extractor's name."""
    return plugins.names(__name__)


def find(name: str) -> type[Extractor]:
    """The extractor class of a name.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Extractor)  # type: ignore[type-abstract]


@cache
def create(name: str) -> Extractor:
    """The extractor of a name, loaded once a process.

    Raises:
        UnknownName: with the nearest matches.
        MissingExtra: its package is absent.
        FetchFailed: its package's weights have another checksum.
    """
    return find(name)()


def choose(extractor: str | Extractor | None, modality: Modality) -> Extractor:
    """The extractor asked for, or the modality's own.

    Raises:
        Unsupported: none is named, or it does not take this modality.
        MissingExtra: its package is absent.
    """
    modality = modality.shown
    wanted = extractor or modality.extractor
    kind = modality.name
    if wanted is None:
        raise Unsupported(
            f"{kind} has no feature extractor of its own",
            cure="name one in evaluate.extractor, or choose a metric that needs no features",
        )
    found = create(wanted) if isinstance(wanted, str) else wanted
    if kind not in found.modalities:
        raise Unsupported(f"the extractor {found.name} does not take {kind}", allowed=found.modalities)
    return found
