"""Source files: what counts as one, and that prepared data is keyed by what was read."""

from __future__ import annotations

from pathlib import Path

import pytest

from miaobi.data import catalog
from miaobi.data.catalog import _python_files
from miaobi.data.catalog._python_files import fingerprint, modules


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
    monkeypatch.setattr(_python_files, "_MOST_BYTES", 20)
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


def test_data_is_keyed_by_the_text_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "note.txt").write_text("one")
    first = fingerprint(tmp_path)
    (tmp_path / "note.txt").write_text("two")
    assert fingerprint(tmp_path) == first
    (tmp_path / "a.py").write_text("x = 2\n")
    second = fingerprint(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, second, fingerprint(tmp_path)}) == 3
    found = [catalog.find(name) for name in ("python-library", "python-functions")]
    monkeypatch.setattr(_python_files, "library", lambda: tmp_path)
    assert all(fingerprint(tmp_path) in one.pinned(tmp_path) for one in found)
