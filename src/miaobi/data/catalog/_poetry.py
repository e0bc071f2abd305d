"""Classical Chinese poems, from the npm package chinese-poetry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from miaobi.data.catalog._base import Record
from miaobi.data.catalog._fetch import npm_pack, tar_members, unpack_members
from miaobi.errors import FetchFailed

VERSION = "2.0.1"
LICENCE = "MIT (chinese-poetry contributors); the poems are in the public domain"
_SHA256 = "25b549e46919c3a0569db6b68ddc96956b04a484ea4518ad2bbd4f137e307e86"
_NOTE = re.compile(r"（[^（）]*）")
# Lacunae, editorial marks, notes that were cut and stray encodings would be learned as if they were verse.
_VERSE = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff，。？！、；：「」『』\n]+")


def poems(cache: Path, name: str, prefix: str, title: str) -> Iterator[Record]:
    """Records with ``text`` (lines joined by line breaks), ``title`` and ``author``, in the collection's order.

    Args:
        cache: where the package is fetched to.
        name: of the collection, for its folder in the cache.
        prefix: what paths of its files in the package begin with.
        title: the key of a poem's title.

    Raises:
        FetchFailed: the package could not be fetched, or is damaged.
    """
    target = cache / "unpacked" / f"{name}-{VERSION}"
    if not target.is_dir():
        package = npm_pack("chinese-poetry", VERSION, _SHA256, cache)
        unpack_members(tar_members(package, f"package/dist/{prefix}", ".json"), target.name, cache)
    for path in sorted(target.iterdir(), key=_number):
        for poem in _read(path):
            record = _record(poem["paragraphs"], poem.get(title), poem["author"])
            if record is not None:
                yield record


def _record(lines: Sequence[str], title: str | None, author: str) -> Record | None:
    """A poem without notes; ``None`` where something else than verse is left."""
    text = "\n".join(line.strip() for line in _NOTE.sub("", "\n".join(lines)).split("\n") if line.strip())
    if not _VERSE.fullmatch(text):
        return None
    return {"text": text, "title": _NOTE.sub("", title or "").strip() or None, "author": author}


def _read(path: Path) -> list[dict[str, str]]:
    try:
        found: list[dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FetchFailed(f"{path} cannot be read: {error}", cure=f"delete {path.parent} to fetch it again") from None
    return found


def _number(path: Path) -> tuple[int, str]:
    """Files are numbered by their first poem."""
    number = re.search(r"\d+", PurePosixPath(path.name).stem)
    return (int(number.group()) if number else 0), path.name
