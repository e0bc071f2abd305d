from __future__ import annotations

from pathlib import Path

import pytest

from miaobi.data.sources import Problem, TextStream
from miaobi.data.sources import stream as module


def test_chunks_are_the_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 50)
    text = "".join(f"line {number} 春曉\r\n" * (number % 3) + "\n" for number in range(40)) + "the end"
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    records = list(TextStream(path).records())
    assert len(records) > 5
    assert "".join(record.values["content"] for record in records) == text


def test_a_broken_line_is_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\ntw\xffo\nthree\n")
    problem, record = TextStream(path).records()
    assert isinstance(problem, Problem)
    assert problem.where == "a.txt line 2"
    assert record.values["content"] == "one\nthree\n"
