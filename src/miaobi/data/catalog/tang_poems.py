"""Poems of the Tang dynasty."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from miaobi.data.catalog._base import Catalog, Record
from miaobi.data.catalog._poetry import LICENCE, VERSION, poems
from miaobi.recipe import Plugin


class TangPoems(Catalog):
    """The Complete Tang Poems (全唐詩) in traditional characters, without those with lacunae or editorial marks."""

    summary = "about 56,000 poems of the Tang dynasty in traditional characters, with titles and authors"
    licence = LICENCE
    version = f"npm chinese-poetry {VERSION}"
    modality: ClassVar[Plugin] = "text"
    content = "text"
    conditions: ClassVar[Mapping[str, Plugin]] = {"title": "text", "author": "label"}

    def records(self, cache: Path) -> Iterator[Record]:
        return poems(cache, "tang-poems", "quantangshi/poet.tang.", "title")
