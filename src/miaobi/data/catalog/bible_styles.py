"""The verses of `bible_pairs` as a corpus in two styles, and as pairs of which one style may be preferred."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog.bible_pairs import BiblePairs
from miaobi.recipe import Plugin

_HELD = {0: "test", 1: "validation"}
_SHARES = 10


class BibleStyles(Catalog):
    """``either`` is a verse in old or in Basic English, half of the verses in each; ``basic`` and ``old`` are both.

    A language model of ``either`` writes in the two styles alike; ``basic`` preferred to ``old``, of the same verses,
    is a preference whose effect on samples can be counted. Chapters are held out by the hash of their name, whatever
    column is the target, so that what a model of one column has learnt is never what one of another is tested on.
    """

    summary = "about 31,000 verses of the Bible in one of two styles, and in both, to prefer one of them"
    licence = BiblePairs.licence
    version = BiblePairs.version
    modality: ClassVar[Plugin] = "text"
    content = "either"
    conditions: ClassVar[Mapping[str, Plugin]] = {"book": "label", "basic": "text", "old": "text"}
    split: ClassVar[Mapping[str, Any]] = {"by": "given"}

    def records(self, cache: Path) -> Iterator[Record]:
        return styled(BiblePairs().records(cache))


def styled(verses: Iterator[Record]) -> Iterator[Record]:
    """Records of `BiblePairs` with ``either`` and ``split``."""
    for verse in verses:
        either = verse["basic" if _number(verse["reference"]) % 2 else "old"]
        yield verse | {"either": either, "split": _HELD.get(_number(verse["chapter"]) % _SHARES, "train")}


def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
