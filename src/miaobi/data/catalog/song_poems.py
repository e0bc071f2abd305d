"""Lyrics of the Song dynasty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._poetry import LICENCE, VERSION, poems
from miaobi.recipe import Plugin


class SongPoems(Catalog):
    """Song lyrics (宋詞) in simplified characters; the title is the tune that a lyric was written to."""

    summary = "about 20,000 lyrics (ci) of the Song dynasty in simplified characters, with tunes as titles, and authors"
    licence = LICENCE
    version = f"npm chinese-poetry {VERSION}"
    modality: ClassVar[Plugin] = "text"
    content = "text"
    conditions: ClassVar[Mapping[str, Plugin]] = {"title": "label", "author": "label"}

    def records(self, cache: Path) -> Iterator[Record]:
        return poems(cache, "song-poems", "songci/ci.song.", "rhythmic")
