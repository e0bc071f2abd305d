"""What the special tokens of a published model do, and how it writes a dialogue: said in one of several files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer as Engine

from miaobi.errors import DataError

Read = Callable[[str], Mapping[str, Any]]
"""The JSON file of that name beside a tokenizer; empty where there is none."""
_BY_NAME = ("tokenizer_config.json", "special_tokens_map.json")
_BY_NUMBER = ("config.json", "generation_config.json")
_USUAL_MASKS = ("[MASK]", "<mask>")
"""BERT's and RoBERTa's; BERT as first published says nowhere which of its tokens masks."""
_LONGEST_TEMPLATE = 1 << 20


@dataclass(frozen=True, slots=True)
class Roles:
    """Numbers of special tokens; ``None``: the publisher has none.

    Attributes:
        begin: begins a text.
        end: ends it.
        chat_template: how a dialogue is written: a Jinja template.
    """

    begin: int | None = None
    end: int | None = None
    chat_template: str | None = None


def roles_of(engine: Engine, read: Read) -> Roles:
    """What the files beside a tokenizer say; the first that names a role, be it as absent, decides.

    Raises:
        DataError: a template is absurdly long.
    """
    return Roles(
        begin=_token(engine, read, "bos_token"),
        end=_token(engine, read, "eos_token"),
        chat_template=_template(read(_BY_NAME[0]).get("chat_template")),
    )


def mask_of(engine: Engine, read: Read) -> int | None:
    """The token that stands for one that is not shown; ``None``: there is none."""
    found = _token(engine, read, "mask_token")
    usual = (engine.token_to_id(name) for name in _USUAL_MASKS)
    return found if found is not None else next((token for token in usual if token is not None), None)


def checked_template(template: str) -> str:
    """The template.

    Raises:
        DataError: it is absurdly long.
    """
    if len(template) > _LONGEST_TEMPLATE:
        raise DataError(
            "a chat template is too long",
            given=f"{len(template):,} characters",
            allowed=f"up to {_LONGEST_TEMPLATE:,}",
            cure="give the model with another one: put chat_template.jinja beside its tokenizer",
        )
    return template


def _token(engine: Engine, read: Read, role: str) -> int | None:
    for name in _BY_NAME:
        said = read(name)
        if role in said:
            return _numbered(engine, said[role])
    # A configuration's number may be its architecture's default, which means another token of another tokenizer.
    special = {token for token, added in engine.get_added_tokens_decoder().items() if added.special}
    for name in _BY_NUMBER:
        found = read(name).get(f"{role}_id")
        first = found[0] if isinstance(found, list) and found else found
        if type(first) is int and first in special:
            return first
    return None


def _numbered(engine: Engine, role: Any) -> int | None:
    content = role.get("content") if isinstance(role, dict) else role
    return engine.token_to_id(content) if isinstance(content, str) else None


def _template(said: Any) -> str | None:
    """The one template, or of several named ones that which is called default."""
    if isinstance(said, list):
        named = [one for one in said if isinstance(one, dict) and one.get("name") == "default"]
        said = named[0].get("template") if named else None
    return checked_template(said) if isinstance(said, str) else None
