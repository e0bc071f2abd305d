"""Modules: that the interpreter's own can be prepared."""

from __future__ import annotations

from pathlib import Path

from miaobi.data import catalog, prepare
from miaobi.recipe import Recipe


def test_the_interpreters_own_library_can_be_prepared(tmp_path: Path) -> None:
    found = catalog.find("python-library")
    records = list(found.records(tmp_path))
    assert len(records) > 300
    assert {found.content, *found.conditions, found.split["group"]} <= set(records[0])
    assert "json.decoder" in {record["title"] for record in records}
    section = {"source": "catalog:python-library", "condition": {"title": "text"}, "clean": {"max_length": 10_000}}
    made = prepare(Recipe.load({"modality": "text", "data": section, "model": {"family": "autoregressive"}}))
    trained, tested = (
        {title.partition(".")[0] for title in part.condition_items("title", range(len(part)))}
        for part in (made.train, made.test)
    )
    assert len(tested) > 5
    assert not trained & tested
