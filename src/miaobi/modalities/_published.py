"""Tokenizers that somebody published: a ``tokenizer.json``, or the one inside a GGUF file; never remote code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Engine

from miaobi.errors import DataError, FetchFailed
from miaobi.modalities._public_files import locate
from miaobi.modalities._roles import checked_template, roles_of
from miaobi.modalities._subwords import FILE, Subwords

_TEMPLATE = "chat_template.jinja"
_HUB = re.compile(r"hub:(?P<id>[\w.-]+(?:/[\w.-]+)?)@(?P<revision>[\w./-]+)")
_MOST_BYTES = 256 << 20
FORMS = "starter:NAME, hub:ID@REVISION, a tokenizer.json, a folder that holds one (written with a /), or a .gguf file"


def is_published(source: str) -> bool:
    """Whether ``source`` has one of the `FORMS`; the file need not be there."""
    if source.startswith("hub:"):
        return _HUB.fullmatch(source) is not None
    return "/" in source or source.endswith((".json", ".gguf")) or source.startswith("starter:")


def open_published(source: str) -> Subwords:
    """The tokenizer at ``source``.

    Raises:
        FetchFailed: the hub could not be reached, or has no such tokenizer.
        DataError: the file is absent or not a tokenizer.
    """
    if source.startswith("starter:") or source.endswith(".gguf"):
        return _opened(_within(locate(source).folder), source)
    hub = _HUB.fullmatch(source)
    if hub:
        return _opened(partial(_fetch, hub["id"], hub["revision"]), source)
    path = Path(source)
    if path.is_dir():
        return _opened(_within(path), source)
    return _opened(lambda name: path if name == FILE else path.with_name(name), source)


Find = Callable[[str], Path | None]
"""The file of that name beside a tokenizer; it need not be there."""


def _within(folder: Path) -> Find:
    return lambda name: folder / name


def _opened(find: Find, source: str) -> Subwords:
    main = find(FILE)
    if main is None:
        raise FetchFailed(f"the repository has no {FILE}", given=source, cure="choose one with a fast tokenizer")
    engine = _engine(main)
    roles = roles_of(engine, cache(lambda name: _json(find(name))))
    return Subwords(engine, roles.begin, roles.end, chat_template=_template(find(_TEMPLATE)) or roles.chat_template)


def _template(path: Path | None) -> str | None:
    read = _read(path)
    return None if read is None else checked_template(read)


def _json(path: Path | None) -> dict[str, Any]:
    read = _read(path)
    try:
        found = json.loads(read or "{}")
    except (ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}", cure="repair or remove it") from None
    return found if isinstance(found, dict) else {}


def _read(path: Path | None) -> str | None:
    """A file beside a tokenizer; ``None``: there is none."""
    if path is None or not path.is_file():
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is too large", allowed=f"up to {_MOST_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}", cure="repair or remove it") from None


def _engine(path: Path) -> Engine:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError("a tokenizer.json is too large", given=str(path), allowed=f"up to {_MOST_BYTES >> 20} MiB")
    except OSError as error:
        raise DataError(f"cannot open the tokenizer: {error}", given=str(path), allowed=FORMS) from None
    try:
        return Engine.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception
        raise DataError(f"not a tokenizer.json: {error}", given=str(path)) from None


def _fetch(repository: str, revision: str, name: str) -> Path | None:
    """A file of a hub repository, through the client's cache; ``None`` where the repository has none of that name."""
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except Exception as error:  # noqa: BLE001 - the client raises its own, its transport's and OSError
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None
        # Without a network, what was once found not to be there is still not there.
        if try_to_load_from_cache(repository, name, revision=revision) is _CACHED_NO_EXIST:
            return None
        raise FetchFailed(
            f"could not fetch {name}: {error}",
            given=f"hub:{repository}@{revision}",
            cure="check the name and the network, or give the path of a tokenizer.json",
        ) from None
