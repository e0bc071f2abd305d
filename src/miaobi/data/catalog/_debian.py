"""Descriptions of Debian's packages, from the lists that apt fetches."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._fetch import apt_lists
from miaobi.errors import FetchFailed
from miaobi.recipe import Plugin

# All of them at once, so that every data set made of them has the same English.
_LANGUAGES = ("en", "de", "es", "fr", "it", "ja", "zh_CN")
_FOLDER = "debian-descriptions"
_BULLET = re.compile(r"[-*+o•·] ")
_WIDE = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60]")


class Descriptions(Catalog):
    """Base of the data sets made of descriptions; ``source`` is the source package, the group of a split.

    Packages built from one source describe one thing, often in the same words, so they go one way in a split.
    """

    version = "package lists as apt serves them"
    modality: ClassVar[Plugin] = "text"
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "source"}

    def pinned(self, cache: Path) -> str:
        """The releases that the lists are of, each with its date."""
        found = (_release(path) for path in sorted(lists(cache).glob("*Release")))
        return f"{self.version}: {'; '.join(dict.fromkeys(found))}"


@dataclass(frozen=True, slots=True)
class Description:
    """One line and the paragraphs that follow it, each on one line but for the items of a list."""

    summary: str
    paragraphs: tuple[str, ...]


def lists(cache: Path) -> Path:
    """The folder of the fetched lists.

    Raises:
        FetchFailed: apt-get is absent, fails or takes too long.
    """
    return apt_lists(_LANGUAGES, _FOLDER, cache)


def sources(folder: Path) -> dict[str, str]:
    """The source package of each package that there is for this machine."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*_Packages.gz")):
        for fields in stanzas(path):
            package = fields["Package"]
            found.setdefault(package, fields.get("Source", package).partition(" ")[0])
    return found


def descriptions(folder: Path, language: str) -> dict[tuple[str, str], Description]:
    """Descriptions in a language by package and by the checksum of the English, which a translation is of."""
    found: dict[tuple[str, str], Description] = {}
    # apt writes the underscore of zh_CN as %5f in the names of files.
    for path in sorted(folder.glob(f"*_Translation-{language.replace('_', '%5f')}.gz")):
        for fields in stanzas(path):
            text = fields.get(f"Description-{language}")
            if text is not None:
                found.setdefault((fields["Package"], fields.get("Description-md5", "")), described(text))
    return found


def stanzas(path: Path) -> Iterator[dict[str, str]]:
    """The fields of each stanza of a gzipped list that has a ``Package``; further lines of a value keep their blank.

    Raises:
        FetchFailed: it is damaged.
    """
    fields: dict[str, str] = {}
    name = ""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for line in file:
                line = line.rstrip("\n")
                if line[:1] in (" ", "\t") and name:
                    fields[name] += f"\n{line}"
                elif line:
                    name, _, value = line.partition(":")
                    fields[name] = value.strip()
                else:
                    yield from [fields] if "Package" in fields else []
                    fields, name = {}, ""
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise FetchFailed(f"{path} cannot be read: {error}", cure=f"delete {path.parent} to fetch it again") from None
    yield from [fields] if "Package" in fields else []


def described(text: str) -> Description:
    """A ``Description`` field: a line, then paragraphs in lines that begin with a blank, a full stop between them.

    Wrapped lines are joined. A line that begins like an item of a list, or that is set apart by a second blank (what
    Debian shows as it is), stays a line, but goes on with the item before it.
    """
    summary, *lines = text.split("\n")
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        if line.strip() == ".":
            paragraphs.append([])
        elif line.strip():
            _add(paragraphs[-1], _spaced(line), apart=line[1:2].isspace())
    return Description(_spaced(summary), tuple("\n".join(lines) for lines in paragraphs if lines))


def once(records: Iterable[Record], *columns: str) -> Iterator[Record]:
    """Records without those of which any of ``columns`` holds a text that an earlier record has there.

    What many packages say word for word would tie their sources together until a split had nothing left to divide.
    """
    seen: set[tuple[str, str]] = set()
    for record in records:
        texts = {(column, record[column]) for column in columns}
        if seen.isdisjoint(texts):
            seen |= texts
            yield record


def _add(lines: list[str], line: str, *, apart: bool) -> None:
    starts = _BULLET.match(line) or (apart and not (lines and _BULLET.match(lines[-1])))
    if starts or not lines:
        lines.append(line)
        return
    # Chinese and Japanese have no blanks between words.
    blank = "" if _WIDE.match(lines[-1][-1]) and _WIDE.match(line[0]) else " "
    lines[-1] += blank + line


def _spaced(line: str) -> str:
    """With single blanks; those that do not break are French punctuation's and stay."""
    return re.sub(r"[ \t]+", " ", line).strip(" ")


def _release(path: Path) -> str:
    text = path.read_text(encoding="utf-8", errors="replace")
    parts = (re.search(rf"^{field}: (.{{1,80}})$", text, re.MULTILINE) for field in ("Codename", "Date"))
    return " of ".join(part[1] if part else "unknown" for part in parts)
