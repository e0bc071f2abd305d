"""Paragraphs of Debian's package descriptions beside their translations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from miaobi.data.catalog._base import Record
from miaobi.data.catalog._debian import Description, Descriptions, descriptions, lists, once, sources
from miaobi.recipe import Plugin


class Translations(Descriptions):
    """Base of the pairs in a language: English as the condition, the translation as the target.

    An item is the one-line summary or a paragraph; descriptions with another number of paragraphs than their
    translation are left out, and so is what was not translated. A text that several packages have, on either side, is
    taken once. ``language`` is the same in every record: it serves tables that join several of these data sets.
    """

    licence = (
        "that of each Debian package's packaging; translations by the Debian Description Translation Project, "
        "whose lists name no licence"
    )
    content = "translation"
    conditions: ClassVar[Mapping[str, Plugin]] = {"english": "text", "language": "label"}
    language: ClassVar[str]
    """As apt names it."""

    def records(self, cache: Path) -> Iterator[Record]:
        folder = lists(cache)
        origin, english = sources(folder), descriptions(folder, "en")
        translated = descriptions(folder, self.language)
        found = (
            {"english": text, "translation": other, "language": self.language, "source": origin[key[0]]}
            for key, description in english.items()
            if key in translated and key[0] in origin
            for text, other in pairs(description, translated[key])
        )
        return once(found, "english", "translation")


def pairs(english: Description, translation: Description) -> Iterator[tuple[str, str]]:
    """The summaries and the paragraphs, in order; nothing where they are not equally many."""
    if len(english.paragraphs) != len(translation.paragraphs):
        return
    sides = ((one.summary, *one.paragraphs) for one in (english, translation))
    for text, other in zip(*sides, strict=True):
        if text != other and any(map(str.isalpha, text)) and any(map(str.isalpha, other)):
            yield text, other
