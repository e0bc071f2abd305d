from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miaobi.data import inspect
from miaobi.errors import InvalidRecipe


def test_a_catalog_data_set_tells_its_own_modality(tmp_path: Path) -> None:
    report = inspect("catalog:digits", data={"clean": {"limit": 300}})
    data = report.to_json()
    assert data["modality"] == "image"
    assert data["items"]["read"] == 300
    assert sum(data["split"]["sizes"].values()) == data["items"]["kept"]
    assert data["labels"]["label"]["classes"] == 10
    assert data["labels"]["label"]["balance"] > 0.99
    assert set(data["split"]["difference"]) == {"validation", "test"}
    assert json.loads(json.dumps(data)) == data


def test_what_is_wrong_is_named_in_the_text(tmp_path: Path) -> None:
    lines = [json.dumps({"text": f"a perfectly fine line of text, number {n**3}"}) for n in range(40)]
    lines += [lines[0], "{broken", json.dumps({"text": ""})]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    report = inspect(str(tmp_path / "a.jsonl"))
    text = report.render()
    assert "a.jsonl line 42: not JSON" in text
    assert "a.jsonl line 41" in text
    assert report.to_json()["unreadable"]["count"] == 2
    assert report.to_json()["content"]["languages"]
    assert max(map(len, text.splitlines())) <= 100


def test_a_folder_of_mixed_files_is_what_most_of_them_are(tmp_path: Path) -> None:
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "song.mid").write_bytes(b"MThd")
    (tmp_path / "notes.odt").write_bytes(b"x")
    data = inspect(str(tmp_path)).to_json()
    assert data["modality"] == "image"
    assert data["ignored"]["count"] == 2
    assert "notes.odt" in inspect(str(tmp_path)).render()


def test_a_stream_is_measured_in_characters(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("春眠不覺曉，處處聞啼鳥。\n" * 100)
    data = inspect(str(tmp_path / "a.txt")).to_json()
    assert data["items"] == {"characters": 1300}
    assert data["split"]["by"] == "position"
    assert data["split"]["sizes"]["train"] == {"characters": 1040}
    assert inspect(str(tmp_path / "a.txt")).render()


def test_targets_that_a_given_split_repeats_are_said(tmp_path: Path) -> None:
    rows = [f"the {n**2} words of line number {n},k{n % 2},train" for n in range(20)]
    rows += [rows[3].replace("k1,train", "k0,test"), "something else that is new,k1,test"]
    (tmp_path / "a.csv").write_text("text,kind,split\n" + "\n".join(rows))
    section = {"content": "text", "condition": ["kind"], "split": {"by": "given", "validation": 0}}
    notes = inspect(str(tmp_path / "a.csv"), data=section).to_json()["notes"]
    assert notes == ["1 test items have a target that training has too"]


def test_an_unknown_kind_must_be_said(tmp_path: Path) -> None:
    (tmp_path / "a.odt").write_text("x")
    with pytest.raises(InvalidRecipe, match="say it: "):
        inspect(str(tmp_path / "a.odt"))
