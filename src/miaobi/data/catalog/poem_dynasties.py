"""Poems of the Tang and of the Song dynasty, from the npm package chinese-poetry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._poetry import LICENCE, VERSION, poems
from miaobi.recipe import Plugin

TANG, SONG = (("tang-poems", "quantangshi/poet.tang."), ("song-shi", "quantangshi/poet.song."))


class PoemDynasties(Catalog):
    """The Complete Tang Poems and as many of the Complete Song Poems (全宋詩), both in traditional characters.

    Those of the Song are evenly spaced in the collection's order, which is by poet and so by time; its lyrics (詞),
    which `song_poems` has, are another form and are not among them. A poet's poems stay together in a split, so that a
    held-out poem is by someone of whom nothing was read in training.
    """

    summary = "about 112,000 poems in traditional characters, half of the Tang and half of the Song dynasty"
    licence = LICENCE
    version = f"npm chinese-poetry {VERSION}"
    modality: ClassVar[Plugin] = "text"
    content = "text"
    conditions: ClassVar[Mapping[str, Plugin]] = {"dynasty": "label", "title": "text", "author": "label"}
    split: ClassVar[Mapping[str, Any]] = {"by": "hash", "group": "author"}

    def records(self, cache: Path) -> Iterator[Record]:
        count = 0
        for poem in poems(cache, *TANG, "title"):
            count += 1
            yield {**poem, "dynasty": "tang"}
        for poem in spaced(lambda: poems(cache, *SONG, "title"), count):
            yield {**poem, "dynasty": "song"}


def spaced(read: Callable[[], Iterator[Record]], count: int) -> Iterator[Record]:
    """At most ``count`` evenly spaced records of what ``read()`` gives each time that it is called."""
    total = sum(1 for _ in read())
    count = min(count, total)
    wanted = iter([index * total // count for index in range(count)])
    place = next(wanted, None)
    for index, record in enumerate(read()):
        if index == place:
            yield record
            place = next(wanted, None)
