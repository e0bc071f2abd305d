"""Tables of dialogues: every kind of table, broken roles named by their line, and tokens stored whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from miaobi.data import Prepared, prepare
from miaobi.data.dataset import Layout
from miaobi.errors import DataError
from miaobi.recipe import Recipe
from miaobi.types import Form, Spec

BROKEN = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]


def dialogue(number: int, turns: int = 2) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [
        {"role": roles[n % 2], "content": f"line {n} of talk {number * 37 % 101} is {number}"} for n in range(turns)
    ]


def made(path: Path, modality: Any = "chat", **data: Any) -> Prepared:
    section = {"source": str(path), **data}
    return prepare(Recipe.load({"modality": modality, "data": section, "model": {"family": "autoregressive"}}))


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return path


def test_a_line_with_broken_roles_is_skipped_and_named(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"messages": dialogue(n)} for n in range(60)]
    rows.insert(16, {"messages": BROKEN})
    prepared = made(jsonl(tmp_path / "chats.jsonl", rows), clean={"duplicates": "exact"})
    assert sum(map(len, (prepared.train, prepared.validation, prepared.test))) == 60
    unreadable = prepared.report.data["unreadable"]
    assert unreadable["count"] == 1
    assert unreadable["examples"][0]["where"] == "chats.jsonl line 17"
    assert "turn 2 is of the user" in unreadable["examples"][0]["reason"]


def test_too_many_broken_lines_are_refused(tmp_path: Path) -> None:
    rows = [{"messages": dialogue(n) if n % 2 else BROKEN} for n in range(60)]
    with pytest.raises(DataError, match=r"30 of 60 items cannot be read.*chats.jsonl line 1.*turn 2 is of the user"):
        made(jsonl(tmp_path / "chats.jsonl", rows))


def test_every_kind_of_table_gives_the_same_items(tmp_path: Path) -> None:
    talks = [dialogue(n) for n in range(40)]
    paths = [jsonl(tmp_path / "one.jsonl", [{"messages": talk} for talk in talks])]
    shared = [
        [{"from": {"user": "human"}.get(m["role"], "gpt"), "value": m["content"]} for m in talk] for talk in talks
    ]
    paths.append(tmp_path / "two.parquet")
    pyarrow.parquet.write_table(pa.table({"conversations": shared, "id": list(range(40))}), paths[-1])
    paths.append(tmp_path / "three.csv")
    paths[-1].write_text("instruction,output\n" + "\n".join(f"{a['content']},{b['content']}" for a, b in talks))
    paths.append(
        jsonl(tmp_path / "four.jsonl", [{"prompt": a["content"], "completion": b["content"]} for a, b in talks])
    )
    found = [made(path) for path in paths]
    assert len({prepared.fingerprint for prepared in found}) == 1
    assert found[0].train.items([0]) == found[1].train.items([0])


def test_one_that_is_too_long_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = [{"messages": dialogue(n)} for n in range(60)]
    rows += [{"messages": [*dialogue(99)[:1], {"role": "assistant", "content": "so long " * 300}]}]
    rows += [{"messages": dialogue(200, turns=30)}]
    prepared = made(jsonl(tmp_path / "chats.jsonl", rows), {"name": "chat", "max_length": 200})
    left_out = prepared.report.data["left_out"]
    assert left_out["count"] == 1
    assert left_out["examples"][0]["where"] == "chats.jsonl line 61"
    assert prepared.report.data["content"]["shortened"] == pytest.approx(2 / 62)


def test_a_vocabulary_that_fits_two_bytes_without_marks_needs_more_with_them() -> None:
    spec = Spec(Form.TOKENS, vocabulary=49152, max_length=4)
    array = np.array([2 * 49151 + 1, 3])
    assert np.frombuffer(Layout.of(spec, array, 2).store(array), "uint32").tolist() == array.tolist()
    assert Layout.of(spec, array).dtype == "uint16"


def test_a_table_without_dialogues_says_what_is_read(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "texts.jsonl", [{"text": "a"}])
    with pytest.raises(DataError, match=r"no columns of dialogues.*data.content"):
        made(path)
    with pytest.raises(DataError):
        made(tmp_path)
