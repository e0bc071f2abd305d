"""Sources: where items come from. A recipe's ``data.source`` names one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from miaobi.data.sources._base import Ignored, Problem, Record, Source, digest
from miaobi.data.sources.aligned import AlignedSource
from miaobi.data.sources.catalog import CatalogSource
from miaobi.data.sources.delimited import DelimitedSource
from miaobi.data.sources.folder import PART_NAMES, FolderSource
from miaobi.data.sources.hub import HubSource
from miaobi.data.sources.jsonl import JsonlSource
from miaobi.data.sources.parquet import ParquetSource
from miaobi.data.sources.stream import TextStream
from miaobi.errors import DataError, nearest

__all__ = ["PART_NAMES", "Ignored", "Problem", "Record", "Source", "TextStream", "digest", "open_source", "use_files"]

_ALLOWED = (
    "a folder, a .csv, .tsv, .jsonl or .parquet table, one .txt, aligned:FOLDER (lines that belong together), "
    "hub:NAME or catalog:NAME"
)


def open_source(name: str, cache: Path, *, extensions: frozenset[str], literal: bool) -> Source:
    """The source that a recipe names; only its head is read.

    Args:
        name: as in ``data.source``; relative paths resolve from the working directory.
        cache: where catalog data is fetched to.
        extensions: suffixes of the target modality's files.
        literal: the target modality takes text itself, so a ``.txt`` is a stream and not an item's file.

    Raises:
        DataError: nothing there, empty, or not of a known kind.
        UnknownName: no such catalog data set.
    """
    kind, colon, rest = name.partition(":")
    if colon and kind == "catalog":
        return CatalogSource(rest, cache)
    if colon and kind == "hub":
        return HubSource(rest)
    if colon and kind == "aligned":
        return AlignedSource(rest)
    path = Path(name).expanduser()
    if path.is_dir():
        return FolderSource(path, extensions, sidecars=not literal)
    if not path.is_file():
        near = nearest(path.name, (file.name for file in path.parent.iterdir())) if path.parent.is_dir() else []
        hint = f"did you mean {' or '.join(near)}?" if near else "check the path"
        raise DataError("the data source does not exist", given=name, allowed=_ALLOWED, cure=hint)
    return _open_file(path, name, literal)


def use_files(source: Source, columns: Sequence[str]) -> None:
    """Say that text in ``columns`` of a table names files beside it; other sources give paths or bytes themselves."""
    if isinstance(source, DelimitedSource | JsonlSource | ParquetSource):
        source.file_columns = tuple(columns)


def _open_file(path: Path, name: str, literal: bool) -> Source:
    match path.suffix.lower():
        case ".csv":
            return DelimitedSource(path, ",")
        case ".tsv":
            return DelimitedSource(path, "\t")
        case ".jsonl" | ".ndjson":
            return JsonlSource(path)
        case ".parquet":
            return ParquetSource(path)
        case ".txt" if literal:
            return TextStream(path)
    raise DataError("not a kind of data source", given=name, allowed=_ALLOWED, cure="convert it, or put it in a folder")
