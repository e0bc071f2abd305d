"""`inspect`: the quality report of a source, without fitting or training anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miaobi import modalities, plugins
from miaobi.data import catalog
from miaobi.data.cache import Cache
from miaobi.data.catalog import cache_folder
from miaobi.data.plan import make_plan
from miaobi.data.report import Report
from miaobi.data.reporting import item_report, stream_report
from miaobi.data.survey import Log, survey
from miaobi.data.text_stream import stage_text
from miaobi.errors import InvalidRecipe
from miaobi.modalities import Modality
from miaobi.recipe import DataSettings, Plugin

_TEXT_SUFFIXES = {".txt", ".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"}


def inspect(
    source: str,
    modality: Plugin | None = None,
    *,
    data: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    log: Log | None = None,
) -> Report:
    """Read a source and report on it.

    Args:
        source: as in ``data.source``.
        modality: the target's; default: the catalog's, or what most files of a folder are, or text for a table.
        data: the rest of a ``data`` section: ``content``, ``condition``, ``split``, ``clean``; default: the catalog's.
        cache: default: ``$MIAOBI_CACHE`` or ``~/.cache/miaobi``.
        log: called with a line for each stage.

    Raises:
        RequestError: a name, option or column that does not exist, or too much that cannot be read.
        FetchFailed: a catalog or hub data set could not be fetched.
    """
    root = cache or cache_folder()
    say = log or (lambda line: None)
    settings = DataSettings.parse({"source": source} | _defaults(source) | dict(data or {}), "data")
    plan = make_plan(modality or guess_modality(source), settings, root)
    with Cache(root).workspace() as folder:
        if plan.source.stream:
            return stream_report(plan, stage_text(plan, folder, say))
        return item_report(plan, survey(plan, folder, say))


def guess_modality(source: str) -> Plugin:
    """The modality that a source most likely holds.

    Raises:
        InvalidRecipe: nothing tells.
    """
    if source.startswith("catalog:"):
        return catalog.find(source.removeprefix("catalog:")).modality
    if source.startswith("aligned:"):
        return "text"
    path = Path(source).expanduser()
    if path.is_dir():
        suffixes = Counter(file.suffix.lower() for file in path.rglob("*") if file.is_file())
        counts = {
            name: sum(suffixes[suffix] for suffix in _extensions(name))
            for name in modalities.names()
            if name != "label"
        }
        best = max(counts, key=lambda name: counts[name])
        if counts[best]:
            return best
    elif path.suffix.lower() in _TEXT_SUFFIXES:
        return "text"
    raise InvalidRecipe(
        "the source does not tell its modality", given=source, cure=f"say it: {', '.join(modalities.names())}"
    )


def _defaults(source: str) -> dict[str, Any]:
    """A catalog data set's conditions, unless the caller names others."""
    if not source.startswith("catalog:"):
        return {}
    known = catalog.find(source.removeprefix("catalog:"))
    return {"condition": {name: {"modality": modality} for name, modality in known.conditions.items()}}


def _extensions(name: str) -> frozenset[str]:
    found: type[Modality] = plugins.load(modalities.__name__, name, Modality)  # type: ignore[type-abstract]
    return found.extensions
