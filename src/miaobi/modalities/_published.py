"""Tokenizers that somebody published: a ``tokenizer.json``, or the one inside a GGUF file; never remote code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Engine

from miaobi.errors import DataError, FetchFailed
from miaobi.modalities._public_files import locate
from miaobi.modalities._subwords import FILE, Subwords

_CONFIG = "tokenizer_config.json"
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
        folder = locate(source).folder
        return _opened(*(folder / name for name in (FILE, _CONFIG, _TEMPLATE)))
    hub = _HUB.fullmatch(source)
    if hub:
        main, config, template = (_fetch(hub["id"], hub["revision"], name) for name in (FILE, _CONFIG, _TEMPLATE))
        if main is None:
            raise FetchFailed(f"the repository has no {FILE}", given=source, cure="choose one with a fast tokenizer")
        return _opened(main, config, template)
    path = Path(source)
    main = path / FILE if path.is_dir() else path
    return _opened(main, main.with_name(_CONFIG), main.with_name(_TEMPLATE))


def _opened(main: Path, config: Path | None, template: Path | None) -> Subwords:
    engine, roles = _engine(main), _roles(config)
    written = template.read_text(encoding="utf-8") if template is not None and template.is_file() else None
    begin, end = _token(engine, roles.get("bos_token")), _token(engine, roles.get("eos_token"))
    return Subwords(engine, begin, end, chat_template=written or _text(roles.get("chat_template")))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


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


def _roles(path: Path | None) -> dict[str, Any]:
    """Which tokens begin and end a text, where the publisher said so."""
    if path is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path}: {error}", cure="repair or remove it") from None
    return found if isinstance(found, dict) else {}


def _token(engine: Engine, role: Any) -> int | None:
    content = role.get("content") if isinstance(role, dict) else role
    return engine.token_to_id(content) if isinstance(content, str) else None


def _fetch(repository: str, revision: str, name: str) -> Path | None:
    """A file of a hub repository, through the client's cache; ``None`` where the repository has none of that name."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except Exception as error:  # noqa: BLE001 - the client raises its own, its transport's and OSError
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            return None
        raise FetchFailed(
            f"could not fetch {name}: {error}",
            given=f"hub:{repository}@{revision}",
            cure="check the name and the network, or give the path of a tokenizer.json",
        ) from None
