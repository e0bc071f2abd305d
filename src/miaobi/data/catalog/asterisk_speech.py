"""Spoken prompts of the Asterisk telephone exchange, from Debian's packages of them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._fetch import apt_download
from miaobi.errors import FetchFailed
from miaobi.recipe import Plugin

_VERSION = "1.6.1-1"
_TEXTS = "asterisk-core-sounds-en", "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50"
_SOUNDS = "asterisk-core-sounds-en-wav", "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d"
_NOTE = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")


class AsteriskSpeech(Catalog):
    """Allison Smith's English prompts, 8 kHz, 16 bits, with what she says.

    Clips of silence and of tones only are left out; so are remarks in the transcripts (``dash [-]``). Clips with the
    same words stay together in a split. ``kind`` is the prompt's folder: digits, letters, phonetic, ..., else prompt.
    """

    summary = "551 spoken telephone prompts with transcripts, one speaker, 8 kHz, 25 minutes"
    licence = "CC-BY-SA-3.0 (Allison Smith; Digium, Inc.)"
    version = f"Debian {_TEXTS[0]} and {_SOUNDS[0]} {_VERSION}"
    modality: ClassVar[Plugin] = "speech"
    content = "speech"
    conditions: ClassVar[Mapping[str, Plugin]] = {"text": "text", "kind": "label"}
    split: ClassVar[Mapping[str, Any]] = {"group": "text"}

    def records(self, cache: Path) -> Iterator[Record]:
        texts, sounds = (apt_download(name, _VERSION, sha256, cache) for name, sha256 in (_TEXTS, _SOUNDS))
        said = transcripts(texts / "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")
        root = sounds / "usr/share/asterisk/sounds/en_US_f_Allison"
        for path in sorted(root.rglob("*.wav")):
            name = path.relative_to(root).with_suffix("").as_posix()
            if text := said.get(name):
                folder, slash, _ = name.rpartition("/")
                yield {"speech": path, "text": text, "kind": folder if slash else "prompt", "name": name}


def transcripts(path: Path) -> dict[str, str]:
    """What is said in each clip, by name, from a gzipped list of ``NAME: TEXT``; empty where nothing is.

    Raises:
        FetchFailed: it cannot be read.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    except (OSError, EOFError, ValueError) as error:
        raise FetchFailed(
            f"{path} cannot be read: {error}", cure=f"delete {path} and its folder to fetch it again"
        ) from None
    parts = (line.partition(":") for line in lines if ":" in line and not line.startswith(";"))
    return {name.strip(): " ".join(_NOTE.sub(" ", text).split()) for name, _, text in parts}
