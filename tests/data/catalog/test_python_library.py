"""Modules: what counts as one, and that the interpreter's own can be prepared."""

from __future__ import annotations

from pathlib import Path

import pytest

from miaobi.data import catalog, prepare
from miaobi.data.catalog import python_library
from miaobi.data.catalog.python_library import modules
from miaobi.recipe import Recipe


def test_modules_are_named_and_grouped_by_package(tmp_path: Path) -> None:
    for name in ("a.py", "json/__init__.py", "json/decoder.py", "xml/dom/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"\n'''{name}'''\n\n")
    assert list(modules(tmp_path)) == [
        {"text": "'''a.py'''", "title": "a", "package": "a"},
        {"text": "'''json/__init__.py'''", "title": "json", "package": "json"},
        {"text": "'''json/decoder.py'''", "title": "json.decoder", "package": "json"},
        {"text": "'''xml/dom/__init__.py'''", "title": "xml.dom", "package": "xml"},
    ]


def test_tests_installed_packages_and_what_cannot_be_read_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(python_library, "_MOST_BYTES", 20)
    wanted = {"kept.py": b"x = 'caf\xc3\xa9'"}
    others = {
        "test/a.py": b"1",
        "json/tests/a.py": b"1",
        "idlelib/a.py": b"1",
        "site-packages/a.py": b"1",
        "_sysconfigdata__linux_.py": b"1",
        "empty.py": b"\n",
        "large.py": b"1" * 21,
        "latin.py": b"x = 'caf\xe9'",
        "data.txt": b"1",
    }
    for name, data in (wanted | others).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (tmp_path / "link.py").symlink_to(tmp_path / "kept.py")
    assert [record["title"] for record in modules(tmp_path)] == ["kept"]


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
