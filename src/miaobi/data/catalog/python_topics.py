"""Chapters of Python's own reference that ship with every interpreter; no network."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.recipe import Plugin


class PythonTopics(Catalog):
    """What ``help()`` shows about the language, from ``pydoc_data.topics``: a paragraph an item, titled by topic."""

    summary = "about 2,000 paragraphs of Python's language reference, with their topics; needs no network"
    licence = "PSF-2.0 (Python Software Foundation)"
    version = f"pydoc_data.topics of Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    modality: ClassVar[Plugin] = "text"
    content = "text"
    conditions: ClassVar[Mapping[str, Plugin]] = {"title": "text"}

    def records(self, cache: Path) -> Iterator[Record]:
        from pydoc_data.topics import topics

        for title in sorted(topics):
            for paragraph in topics[title].split("\n\n"):
                text = "\n".join(line.strip() for line in paragraph.split("\n")).strip()
                if len(text) > 20:
                    yield {"text": text, "title": title}
