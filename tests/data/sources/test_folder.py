from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from miaobi.data.sources import Problem, Record, open_source
from miaobi.errors import DataError

PICTURES = frozenset({".png"})


def picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, dtype=np.uint8)).save(path)


def folder(path: Path):
    return open_source(str(path), path / "cache", extensions=PICTURES, literal=False)


def test_subfolders_are_labels_and_stems_are_names(tmp_path: Path) -> None:
    for name in ("cats/a.png", "cats/old/b.png", "dogs/c.PNG", "top.png"):
        picture(tmp_path / name)
    found = {record.where: record.values for record in folder(tmp_path).records()}
    assert {where: values["label"] for where, values in found.items()} == {
        "cats/a.png": "cats", "cats/old/b.png": "cats", "dogs/c.PNG": "dogs", "top.png": None,
    }  # fmt: skip
    assert found["dogs/c.PNG"]["name"] == "c"
    assert found["cats/a.png"]["content"] == (tmp_path / "cats/a.png").resolve()


def test_folders_called_train_and_test_are_the_split(tmp_path: Path) -> None:
    picture(tmp_path / "train/cats/a.png")
    picture(tmp_path / "val/dogs/b.png")
    source = folder(tmp_path)
    assert "split" in source.columns
    assert [(r.values["split"], r.values["label"]) for r in source.records()] == [
        ("train", "cats"),
        ("validation", "dogs"),
    ]


def test_other_files_are_counted_and_named(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "notes.doc").write_text("x")
    (tmp_path / "song.mid").write_bytes(b"x")
    (tmp_path / ".hidden").write_text("x")
    source = folder(tmp_path)
    assert [record.where for record in source.records()] == ["a.png"]
    assert source.ignored.count == 2
    assert source.ignored.suffixes == {".doc": 1, ".mid": 1}
    assert source.ignored.examples == ["notes.doc", "song.mid"]


def test_a_text_beside_a_picture_is_a_column(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "a.txt").write_text("a grey square")
    source = folder(tmp_path)
    first, second = source.records()
    assert first.values["text"].read_text() == "a grey square"
    assert second.values["text"] is None
    assert source.ignored.count == 0


def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "secret/a.png")
    root = tmp_path / "root"
    picture(root / "b.png")
    (root / "a.png").symlink_to(tmp_path / "secret/a.png")
    (root / "linked").symlink_to(tmp_path / "secret")
    (root / "inside.png").symlink_to(root / "b.png")
    found = list(folder(root).records())
    assert [type(record) for record in found] == [Problem, Record, Record]
    assert found[0] == Problem("a.png", "the link leaves the folder")
    assert {record.where for record in found} == {"a.png", "b.png", "inside.png"}


@pytest.mark.parametrize("name", [None, "notes.doc"])
def test_a_folder_without_items_is_an_error(tmp_path: Path, name: str | None) -> None:
    root = tmp_path / "root"
    root.mkdir()
    if name:
        (root / name).write_text("x")
    with pytest.raises(DataError) as caught:
        list(folder(root).records())
    assert caught.value.cure
    if name:
        assert name in caught.value.message


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    picture(root / "a.png")
    before = folder(root).fingerprint([])
    assert folder(root).fingerprint([]) == before
    picture(root / "b.png")
    assert folder(root).fingerprint([]) != before
