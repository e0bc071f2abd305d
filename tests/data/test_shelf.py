from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from miaobi.data import shelf as module
from miaobi.data.shelf import Shelf, ShelfWriter
from miaobi.errors import CorruptFile, SaveFailed

SCHEMA = pa.schema([("n", pa.int64()), ("data", pa.binary()), ("fixed", pa.binary(2))])


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(module, "_FLUSH_ROWS", 7)
    with ShelfWriter(tmp_path / "a.arrow", SCHEMA) as writer:
        for number in range(50):
            writer.append([number, None if number % 5 == 3 else b"x" * number, bytes([number, 1])])
    return Shelf(tmp_path / "a.arrow")


def test_rows_in_any_order(filled: Shelf) -> None:
    rows = [49, 0, 7, 6, 7]
    assert len(filled) == 50
    assert filled.values("n", rows) == rows
    assert [len(found) for found in filled.binary("data", rows)] == rows
    assert filled.fixed("fixed", rows)[:, 0].tolist() == rows
    assert filled.numbers("n").tolist() == list(range(50))
    assert filled.span("n", 5, 23).tolist() == list(range(5, 23))
    assert [n for (n,) in filled.scan(["n"])] == list(range(50))


def test_absence_is_known(filled: Shelf) -> None:
    assert filled.present("n") is None
    assert np.flatnonzero(~filled.present("data")).tolist() == list(range(3, 50, 5))


@pytest.mark.parametrize("row", [-1, 50])
def test_rows_outside_are_refused(filled: Shelf, row: int) -> None:
    with pytest.raises(IndexError):
        filled.values("n", [row])


def test_a_file_cut_short_is_corrupt(filled: Shelf, tmp_path: Path) -> None:
    path = tmp_path / "b.arrow"
    path.write_bytes((tmp_path / "a.arrow").read_bytes()[:-30])
    with pytest.raises(CorruptFile) as caught:
        Shelf(path)
    assert caught.value.cure


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said() -> None:
    writer = ShelfWriter(Path("/dev/full"), SCHEMA)
    writer.append([1, b"x" * 100_000, b"ab"])
    with pytest.raises(SaveFailed, match="MIAOBI_CACHE"):
        writer.close()
