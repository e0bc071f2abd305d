"""Small talk in many languages, from the PyPI package chatterbot-corpus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import yaml

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._fetch import pip_download, zip_members
from miaobi.errors import FetchFailed
from miaobi.recipe import Plugin

_PACKAGE = "chatterbot-corpus"
_VERSION = "1.3.3"
_SHA256 = "86de5300afb9a80826386339d3bec79c0a72eb0358abb8327e2ecef5ae0ce154"
_INSIDE = "chatterbot_corpus/data/"


class Dialogues(Catalog):
    """What one says and what another answers: the first two lines of every conversation.

    Further lines are answers to each other in some of the files and other answers to the first line in others, which
    nothing tells apart; so they are left out. Exchanges that begin with the same words stay together in a split.
    ``language`` is the English name of one, such as ``english``; ``topic`` is the file's name, in its own language.
    """

    summary = "about 7,600 questions and answers of small talk in 28 languages, most in Persian and English"
    licence = "BSD (Gunther Cox and contributors; the package does not say which of them)"
    version = f"PyPI {_PACKAGE} {_VERSION}"
    modality: ClassVar[Plugin] = "text"
    content = "response"
    conditions: ClassVar[Mapping[str, Plugin]] = {"prompt": "text", "language": "label", "topic": "label"}
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "prompt"}

    def records(self, cache: Path) -> Iterator[Record]:
        wheel = pip_download(_PACKAGE, _VERSION, _SHA256, cache)
        for name, data in zip_members(wheel, _INSIDE, ".yml"):
            path = PurePosixPath(name)
            for prompt, response in exchanges(data, name):
                yield {"prompt": prompt, "response": response, "language": path.parent.name, "topic": path.stem}


def exchanges(data: bytes, name: str) -> Iterator[tuple[str, str]]:
    """The first two lines of each conversation in a YAML file of lists, on one line each.

    Conversations that are no list (a line that lacks its dashes) or that have one line are passed over.

    Raises:
        FetchFailed: the file is not YAML, or holds no conversations.
    """
    try:
        conversations = yaml.safe_load(data)["conversations"]
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise FetchFailed(f"{name} in {_PACKAGE} cannot be read: {error!r}", cure="delete the wheel") from None
    for lines in conversations or []:
        if isinstance(lines, list) and len(lines) > 1:
            prompt, response = (" ".join(str(line or "").split()) for line in lines[:2])
            if prompt and response:
                yield prompt, response
