from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from miaobi.data.sources import Problem, Record, open_source, use_files
from miaobi.errors import DataError, UnknownName

ROWS = [{"text": "one, two", "kind": "a"}, {"text": "three\nfour", "kind": "b"}]


def table(path: Path):
    return open_source(str(path), path.parent / "cache", extensions=frozenset({".txt"}), literal=True)


def write(path: Path, kind: str) -> Path:
    path = path / f"rows.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind == "jsonl":
        path.write_text("\n\n".join(json.dumps(row) for row in ROWS) + "\n")
    else:
        comma = "," if kind == "csv" else "\t"
        path.write_text(f'text{comma}kind\n"one, two"{comma}a\n\n"three\nfour"{comma}b\n')
    return path


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_every_table_gives_the_same_rows(tmp_path: Path, kind: str) -> None:
    source = table(write(tmp_path, kind))
    assert list(source.columns) == ["text", "kind"]
    assert [dict(record.values) for record in source.records()] == ROWS
    assert [dict(record.values) for record in source.records(["kind"])] == [{"kind": "a"}, {"kind": "b"}]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_an_unknown_column_names_the_nearest(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="did you mean kind"):
        table(write(tmp_path, kind)).check_columns(["kinds"])


def test_rows_are_named_by_their_first_line(tmp_path: Path) -> None:
    assert [record.where for record in table(write(tmp_path, "csv")).records()] == [
        "rows.csv line 2",
        "rows.csv line 4",
    ]


def test_broken_utf8_is_named_by_line_and_costs_that_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'text,kind\ngood,a\nb\xffad,b\n"more\nb\xc3d",c\nlast,d\n')
    found = list(table(path).records())
    assert [r.values["text"] for r in found if isinstance(r, Record)] == ["good", "last"]
    assert [r.where for r in found if isinstance(r, Problem)] == ["rows.csv line 3", "rows.csv line 5"]
    assert "0xff at position 2" in found[1].reason


def test_broken_json_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": \n[1]\n{"text": "\xff"}\n{"text": "b"}\n')
    found = list(table(path).records())
    assert [r.values["text"] for r in found if isinstance(r, Record)] == ["a", "b"]
    assert [(r.where, r.reason.split(":")[0]) for r in found if isinstance(r, Problem)] == [
        ("rows.jsonl line 2", "not JSON"),
        ("rows.jsonl line 3", "not a JSON object but a list"),
        ("rows.jsonl line 4", "not UTF-8"),
    ]


def test_a_row_of_another_width_is_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b\n1,2\n1,2,3\n"x" y,2\n3,4\n')
    found = list(table(path).records())
    assert [type(record) for record in found] == [Record, Problem, Problem, Record]
    assert "3 fields where the header has 2" in found[1].reason


def test_a_very_long_line_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from miaobi.data.sources import _lines

    monkeypatch.setattr(_lines.read_lines, "__defaults__", (100,))
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in ("a", "b" * 500, "c")))
    found = list(table(path).records())
    assert [type(record) for record in found] == [Record, Problem, Record]
    assert "longer than" in found[1].reason


def test_columns_of_files_are_resolved_beside_the_table_and_never_outside(tmp_path: Path) -> None:
    (tmp_path / "outside.txt").write_text("secret")
    root = tmp_path / "root"
    (root / "pictures").mkdir(parents=True)
    (root / "pictures/a.txt").write_text("a")
    names = ["pictures/a.txt", "../outside.txt", str(tmp_path / "outside.txt"), "missing.txt", ""]
    path = root / "rows.csv"
    path.write_text("file,n\n" + "\n".join(f"{name},1" for name in names))
    source = table(path)
    use_files(source, ["file"])
    found = list(source.records())
    assert found[0].values["file"] == (root / "pictures/a.txt").resolve()
    assert [r.reason.split(":")[0] for r in found[1:4]] == [
        "the file leaves the table's folder", "the file leaves the table's folder", "no such file beside the table",
    ]  # fmt: skip
    assert found[4].values["file"] == ""


def test_the_fingerprint_covers_files_that_the_table_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    path = tmp_path / "rows.csv"
    path.write_text("file,n\na.txt,1\n")
    source = table(path)
    use_files(source, ["file"])
    before = source.fingerprint(["file"])
    assert source.fingerprint(["file"]) == before
    (tmp_path / "a.txt").write_text("longer")
    assert source.fingerprint(["file"]) != before


def test_hub_style_structures_become_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist([{"image": {"bytes": b"abc", "path": "x.png"}}]), path)
    assert [record.values["image"] for record in table(path).records()] == [b"abc"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rows.csv", ""),
        ("rows.csv", "a,a\n1,2\n"),
        ("rows.csv", b"\xff\n"),
        ("rows.jsonl", "[1]\n"),
        ("rows.parquet", "PAR1 not really"),
        ("rows.txt", ""),
        ("rows.docx", "x"),
    ],
)
def test_what_is_no_table_is_an_error_with_a_cure(tmp_path: Path, name: str, content: str | bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as caught:
        list(table(path).records())
    assert caught.value.cure


def test_a_parquet_file_cut_short_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "parquet")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="Parquet"):
        table(path)


def test_a_missing_source_names_its_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "csv")
    with pytest.raises(DataError, match=r"did you mean rows\.csv"):
        table(tmp_path / "row.csv")
    with pytest.raises(UnknownName, match="did you mean tang_poems"):
        open_source("catalog:tang-poem", tmp_path, extensions=frozenset(), literal=True)
