"""Verses in two styles: half in each, and chapters held out alike whatever column is the target."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from miaobi.data import catalog, prepare
from miaobi.data.catalog.bible_styles import styled
from miaobi.recipe import Recipe


def verses() -> list[dict[str, str]]:
    found = (
        {
            "old": f"thou art {chapter} {verse}",
            "basic": f"you are {chapter} {verse}",
            "reference": f"Book {chapter}:{verse}",
            "chapter": f"Book {chapter}",
            "book": "Book",
        }
        for chapter in range(200)
        for verse in range(10)
    )
    return list(styled(found))


def test_half_of_the_verses_are_in_each_style() -> None:
    counts = Counter(verse["either"].split()[0] for verse in verses())
    assert abs(counts["thou"] - counts["you"]) < 4 * 2000**0.5
    assert all(verse["either"] in (verse["old"], verse["basic"]) for verse in verses())


def test_whole_chapters_are_held_out() -> None:
    parts: dict[str, set[str]] = {}
    for verse in verses():
        parts.setdefault(verse["chapter"], set()).add(verse["split"])
    assert all(len(found) == 1 for found in parts.values())
    counts = Counter(next(iter(found)) for found in parts.values())
    assert counts["train"] > 130
    assert min(counts["validation"], counts["test"]) > 8


@pytest.mark.registry
def test_the_verses_are_there(tmp_path: Path) -> None:
    known = catalog.find("bible-styles")
    assert sum(1 for _ in known.records(tmp_path)) > 30_000
    section = {"source": "catalog:bible-styles", "content": "basic", "extra": {"rejected": "old"}}
    prepared = prepare(Recipe.load({"modality": "text", "data": section, "model": {"family": "dpo"}}))
    assert len(prepared.test) > 2000
