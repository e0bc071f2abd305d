from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.data import inspect, prepare
from miaobi.data.sources import Problem, Record, open_source
from miaobi.data.sources.aligned import _count
from miaobi.errors import DataError
from miaobi.recipe import Recipe


def aligned(place: object):
    return open_source(f"aligned:{place}", Path(), extensions=frozenset({".txt"}), literal=True)


def write(folder: Path, **files: bytes | str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        raw = data.encode() if isinstance(data, str) else data
        (folder / name.replace("__", ".")).write_bytes(raw)
    return folder


def rows(source) -> list[dict[str, str]]:
    assert all(isinstance(record, Record) for record in source.records())
    return [dict(record.values) for record in source.records()]


PAIRS = [{"en": "one", "it": "uno"}, {"en": "two words", "it": "due parole"}]


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"en__txt": "one\ntwo words\n", "it__txt": "uno\ndue parole\n"}, "."),
        ({"en": b"\xef\xbb\xbfone\r\ntwo words", "it__txt": "uno\r\ndue parole\r\n", "__hidden": "x"}, "."),
        ({"train__en": "one\ntwo words\n", "train__it": "uno\ndue parole", "test__en": "other\n"}, "train"),
        ({"train__en__txt": "one\ntwo words\n", "train__it__txt": "uno\ndue parole", "training__x": "y"}, "train"),
    ],
)
def test_lines_of_one_number_are_an_item(tmp_path: Path, files: dict, place: str) -> None:
    folder = write(tmp_path / "a, b=c: d", **files)
    source = aligned(folder / place)
    assert list(source.columns) == ["en", "it"]
    assert rows(source) == PAIRS
    assert [dict(record.values) for record in source.records(["it"])] == [{"it": row["it"]} for row in PAIRS]


def test_unequal_files_are_refused_with_both_counts_where_they_are_in_use(tmp_path: Path) -> None:
    source = aligned(write(tmp_path, en="one\ntwo\n", it="uno\ndue\ntre", notes="by hand\n"))
    with pytest.raises(DataError, match="en: 2 lines, it: 3 lines") as found:
        next(iter(source.records(["en", "it"])))
    assert "notes" not in str(found.value)
    with pytest.raises(DataError, match="notes: 1 lines"):
        next(iter(source.records()))


def test_blank_and_broken_lines_are_named_by_number_and_file(tmp_path: Path) -> None:
    source = aligned(write(tmp_path, new=b"a\n  \nc\nd\xff\n", old=b"A\n\nC\nD\n"))
    first, *problems = source.records()
    assert dict(first.values) == {"new": "a", "old": "A"}
    blank, whole, broken = problems
    assert isinstance(blank, Problem)
    assert (blank.where, blank.reason) == ("line 2", "new: the line is blank; old: the line is blank")
    assert dict(whole.values) == {"new": "c", "old": "C"}
    assert isinstance(broken, Problem)
    assert broken.where == "line 4"
    assert broken.reason == "new: not UTF-8: byte 0xff at position 2 of the line"


def test_the_fingerprint_is_of_the_files_in_use(tmp_path: Path) -> None:
    folder = write(tmp_path, en="one\n", it="uno\n", de="eins\n")
    before = aligned(folder).fingerprint(["en", "it"])
    write(tmp_path, de="zwei, drei\n")
    assert aligned(folder).fingerprint(["en", "it"]) == before
    write(tmp_path, it="due, tre\n")
    assert aligned(folder).fingerprint(["en", "it"]) != before


@pytest.mark.parametrize(
    ("files", "place", "message"),
    [
        ({"en__txt": "one\n"}, ".", "two files or more.*en.txt"),
        ({"train__en": "a\n", "train__it": "b\n"}, "trian", r"did you mean train\?"),
        ({"en": "a\n", "en__txt": "b\n"}, ".", "two files would be one column.*en and en.txt"),
        ({}, "nowhere/at/all", "no file"),
    ],
)
def test_what_is_no_set_of_aligned_files_is_refused(tmp_path: Path, files: dict, place: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        aligned(write(tmp_path, **files) / place)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=30).map(lambda data: data.replace(b"x", b"\n")))
def test_lines_are_counted_as_they_are_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("count") / "a"
    path.write_bytes(data)
    with path.open("rb") as file:
        assert _count(path) == len(file.readlines())


def numbered(count: int, broken: int) -> dict[str, str]:
    lines = [f"the perfectly fine line of number {number**3}" for number in range(count)]
    return {"old": "\n".join(lines), "new": "\n".join("" if i == broken else f"{x}!" for i, x in enumerate(lines))}


def test_it_is_inspected_and_prepared_like_any_source(tmp_path: Path) -> None:
    folder = write(tmp_path / "pairs", **numbered(60, broken=6))
    section = {"source": f"aligned:{folder}", "content": "new", "condition": {"old": "text"}}
    report = inspect(section["source"], data={key: section[key] for key in ("content", "condition")})
    assert report.to_json()["modality"] == "text"
    assert report.to_json()["unreadable"]["count"] == 1
    assert "line 7: new: the line is blank" in report.render()
    recipe = {"modality": "text", "data": section, "model": {"family": "dictionary"}}
    data = prepare(Recipe.load(recipe), cache=tmp_path / "cache")
    chosen = range(len(data.train))
    pairs = zip(data.train.condition_items("old", chosen), data.train.items(chosen), strict=True)
    assert len(data.train) > 30
    assert all(new == f"{old}!" for old, new in pairs)
