"""What Debian's packages are, in many words and in a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from miaobi.data.catalog._base import Record
from miaobi.data.catalog._debian import Descriptions, descriptions, lists, once, sources
from miaobi.recipe import Plugin


class DebianSummaries(Descriptions):
    """The long description of a package as the condition, its one-line summary as the target.

    Paragraphs have an empty line between them. A description or a summary that several packages have is taken once.
    """

    summary = "about 60,000 descriptions of Debian's packages with their one-line summaries, in English"
    licence = "that of each Debian package's packaging"
    content = "summary"
    conditions: ClassVar[Mapping[str, Plugin]] = {"description": "text", "package": "text"}

    def records(self, cache: Path) -> Iterator[Record]:
        folder = lists(cache)
        origin = sources(folder)
        found = (
            {
                "description": "\n\n".join(described.paragraphs),
                "summary": described.summary,
                "package": package,
                "source": origin[package],
            }
            for (package, _), described in descriptions(folder, "en").items()
            if package in origin and described.summary and described.paragraphs
        )
        return once(found, "description", "summary")
