from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from miaobi.data import Prepared, prepare
from miaobi.errors import CorruptFile, DataError, InvalidRecipe, SaveFailed, UnknownName, Unsupported
from miaobi.recipe import Recipe

WORDS = ["spring", "moon", "river", "mountain", "wine", "autumn", "wind", "bird", "flower", "night", "boat", "snow"]


def recipe(modality: object = "text", **data: object) -> Recipe:
    return Recipe.load({"modality": modality, "data": data, "model": {"family": "vae"}})


def sentence(seed: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, 12).tolist())


def write_jsonl(path: Path, rows: list[dict]) -> str:
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.fixture
def poems(tmp_path: Path) -> Recipe:
    rows = [{"text": sentence(n), "title": sentence(1000 + n)[:20], "kind": "ab"[n % 2]} for n in range(200)]
    source = write_jsonl(tmp_path / "poems.jsonl", rows)
    return recipe(source=source, content="text", condition={"title": "text", "kind": "label"})


def content(prepared: Prepared) -> dict[str, set[str]]:
    parts = (prepared.train, prepared.validation, prepared.test)
    return {part.part: set(part.items(range(len(part)))) for part in parts}


def test_text_with_conditions(poems: Recipe) -> None:
    prepared = prepare(poems)
    assert len(prepared.train) + len(prepared.validation) + len(prepared.test) == 200
    assert prepared.conditions["title"] is prepared.modality
    assert prepared.specs["title"].shared
    assert prepared.specs["title"].max_length == 20
    assert prepared.specs["kind"].vocabulary == 2
    batch = prepared.train.batch([3, 0, 3])
    items = prepared.train.items([3, 0, 3])
    assert batch.ids.tolist() == prepared.train.ids[[3, 0, 3]].tolist()
    arrays = prepared.modality.split_batch(batch.target.values, batch.target.lengths)
    assert [prepared.modality.decode(array) for array in arrays] == items
    kinds = [prepared.conditions["kind"].decode(value) for value in batch.conditions["kind"].values.numpy()]
    assert kinds == prepared.train.condition_items("kind", [3, 0, 3])


def test_what_was_prepared_is_reused(poems: Recipe) -> None:
    lines: list[str] = []
    first, second = prepare(poems), prepare(poems, log=lines.append)
    assert len(lines) == 1
    assert "using the prepared data" in lines[0]
    assert second.fingerprint == first.fingerprint
    assert second.report == first.report
    assert (second.target, second.specs) == (first.target, first.specs)
    assert torch.equal(second.train.batch([1, 2]).target.values, first.train.batch([1, 2]).target.values)


def test_a_changed_source_option_or_file_is_prepared_anew(poems: Recipe, tmp_path: Path) -> None:
    first = prepare(poems)
    fewer = prepare(Recipe.load(poems, ["data.clean.limit=100"]))
    assert fewer.fingerprint != first.fingerprint
    path = tmp_path / "poems.jsonl"
    path.write_text(path.read_text() + '\n{"text": "one more poem here", "title": "new", "kind": "a"}')
    assert prepare(poems).fingerprint != first.fingerprint


def test_augmentation_does_not_prepare_anew(tmp_path: Path) -> None:
    one, other = (recipe("image", source="catalog:digits", augment=augment) for augment in ({}, {"flip": True}))
    prepare(one)
    lines: list[str] = []
    prepare(other, log=lines.append)
    assert len(lines) == 1


def test_a_models_own_modalities_are_used(poems: Recipe, tmp_path: Path) -> None:
    first = prepare(poems)
    lines: list[str] = []
    again = prepare(poems, fitted=(first.modality, first.conditions), log=lines.append)
    assert again.modality is first.modality
    assert len(lines) == 1
    rows = [{"text": f"{sentence(n)} {'zq' * (n % 3)}", "title": f"{n}", "kind": "ab"[n % 2]} for n in range(300, 340)]
    other = Recipe.load(poems, [f"data.source={write_jsonl(tmp_path / 'other.jsonl', rows)}"])
    used = prepare(other, fitted=(first.modality, first.conditions))
    assert used.target == first.target
    with pytest.raises(InvalidRecipe, match="other conditions"):
        prepare(recipe(source=str(tmp_path / "other.jsonl"), content="text"), fitted=(first.modality, first.conditions))


def test_an_absent_condition_is_marked(tmp_path: Path) -> None:
    rows = [{"text": sentence(n), "title": sentence(n)[:9] if n % 2 else None} for n in range(60)]
    source = write_jsonl(tmp_path / "a.jsonl", rows)
    train = prepare(recipe(source=source, content="text", condition={"title": "text"})).train
    titles = train.condition_items("title", range(len(train)))
    field = train.batch(range(len(train))).conditions["title"]
    assert None in titles
    assert field.is_present().tolist() == [title is not None for title in titles]


def test_a_picture_that_comes_as_an_array_can_be_a_condition() -> None:
    options = {"source": "catalog:digits", "content": "label", "condition": {"image": "image"}}
    train = prepare(recipe("label", **options)).train
    assert train.batch([0, 1]).conditions["image"].values.shape == (2, 1, 8, 8)
    assert train.condition_items("image", [0])[0].shape == (8, 8, 1)


def test_images_from_a_folder_with_one_broken_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "root" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(path)
    broken = tmp_path / "root/a/0.png"
    broken.write_bytes(broken.read_bytes()[:60])
    (tmp_path / "root/readme.doc").write_text("x")
    prepared = prepare(recipe("image", source=str(tmp_path / "root"), condition=["label"]))
    report = prepared.report.to_json()
    assert report["unreadable"]["count"] == 1
    assert report["unreadable"]["examples"][0]["where"] == "a/0.png"
    assert report["ignored"]["examples"] == ["readme.doc"]
    assert report["labels"]["label"]["counts"] == {"b": 15, "a": 14}
    batch = prepared.train.batch(range(4))
    assert batch.target.values.shape == (4, 3, 8, 8)
    assert batch.target.values.abs().max() <= 1
    stricter = recipe("image", source=str(tmp_path / "root"), clean={"max_unreadable": 0.01})
    with pytest.raises(DataError, match=r"a/0.png.*max_unreadable"):
        prepare(stricter)


def test_length_limits_are_reported(tmp_path: Path) -> None:
    texts = ["tiny", "a middling text", "a text that is much too long to keep", *(sentence(n)[:20] for n in range(20))]
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in texts])
    report = prepare(recipe(source=source, clean={"min_length": 5, "max_length": 20})).report.to_json()
    assert [one["where"] for one in report["too_short"]["examples"]] == ["a.jsonl line 1"]
    assert [one["where"] for one in report["too_long"]["examples"]] == ["a.jsonl line 3"]
    assert report["items"]["read"] == 23


def test_a_class_that_training_lacks_is_left_out_of_the_rest(tmp_path: Path) -> None:
    rows = [{"text": sentence(n), "kind": "ab"[n % 2], "split": "train"} for n in range(20)]
    rows += [{"text": sentence(n), "kind": "abc"[n % 3], "split": "test"} for n in range(20, 29)]
    section = {"condition": ["kind"], "split": {"by": "given", "validation": 0}}
    prepared = prepare(recipe(source=write_jsonl(tmp_path / "a.jsonl", rows), content="text", **section))
    assert len(prepared.test) == 6
    assert prepared.report.to_json()["left_out"]["count"] == 3


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=24, max_size=60),
    st.sampled_from(["near", "keep"]),
)
def test_nothing_leaks_from_one_part_to_another(tmp_path_factory, pairs: list[tuple[int, int]], policy: str) -> None:
    folder = tmp_path_factory.mktemp("leak")
    rows = [{"text": sentence(left), "title": sentence(100 + right)} for left, right in pairs]
    # Enough that belongs to nothing else, so that every part gets something.
    rows += [{"text": sentence(200 + n), "title": sentence(300 + n)} for n in range(30)]
    section = {"content": "text", "condition": {"title": "text"}, "clean": {"duplicates": policy}}
    prepared = prepare(recipe(source=write_jsonl(folder / "a.jsonl", rows), **section), cache=folder)
    parts = [prepared.train, prepared.validation, prepared.test]
    for side in ("items", "titles"):
        sets = [
            set(part.items(range(len(part))) if side == "items" else part.condition_items("title", range(len(part))))
            for part in parts
        ]
        assert all(sets)
        assert len(set.union(*sets)) == sum(map(len, sets))
    ids = torch.cat([part.ids for part in parts])
    assert (ids > 0).all()
    if policy == "near":
        assert len(set(ids.tolist())) == len(ids)


def test_test_falls_back_to_validation_where_there_is_none(poems: Recipe) -> None:
    prepared = prepare(Recipe.load(poems, ["data.split.test=0"]))
    assert prepared.part("test") is prepared.validation
    assert prepared.part("test").part == "validation"
    with pytest.raises(InvalidRecipe, match="no such part"):
        prepared.part("tset")


def test_a_split_by_position_follows_the_order(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "a.jsonl", [{"text": sentence(n)} for n in range(40)])
    prepared = prepare(recipe(source=source, split={"by": "position", "validation": 0.1, "test": 0.1}))
    assert prepared.test.items(range(4)) == [sentence(n) for n in range(36, 40)]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"content": "txt"}, DataError, "did you mean text"),
        ({"condition": ["titel"]}, DataError, "did you mean title"),
        ({"condition": {"title": {"modality": "txet"}}}, UnknownName, "text"),
        ({"split": {"group": "author"}}, DataError, "no column 'author'"),
        ({"split": {"by": "given"}}, DataError, "no column 'split'"),
        ({"augment": {"flop": True}}, InvalidRecipe, "flop"),
        ({"representation": "codes"}, InvalidRecipe, "representation"),
        ({"representation": "codec.codes"}, UnknownName, "part in data.representation"),
        ({"condition": {"title": {"view": "mask"}}}, Unsupported, "mask"),
        ({"condition": {"title": {"view": "msak"}}}, UnknownName, "mask"),
        ({"condition": {"title": {"view": "mask", "column": "title"}}}, InvalidRecipe, "a view has no column"),
        ({"clean": {"min_length": 10_000}}, DataError, "no usable item"),
    ],
)
def test_what_cannot_work_is_said_first(poems: Recipe, data: dict, error: type[Exception], message: str) -> None:
    source = poems.data.source
    with pytest.raises(error, match=message):
        prepare(recipe(**({"source": source} | data)))


def test_damaged_prepared_data_is_said(poems: Recipe, tmp_path: Path) -> None:
    prepare(poems)
    (path,) = (tmp_path / "cache/prepared").glob("*/train.arrow")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CorruptFile, match=r"another size.*delete that folder"):
        prepare(poems)


def test_a_cache_that_cannot_be_written_is_said(poems: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SaveFailed, match="MIAOBI_CACHE"):
        prepare(poems, cache=tmp_path / "file")


def test_nothing_is_left_behind_by_failure_or_success(poems: Recipe, tmp_path: Path) -> None:
    prepare(poems)
    with pytest.raises(DataError):
        prepare(Recipe.load(poems, ["data.clean.min_length=10000"]))
    assert not list((tmp_path / "cache/prepared").glob(".making-*"))


def test_processes_that_prepare_the_same_do_not_disturb_each_other(poems: Recipe, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(poems.to_yaml())
    code = "import miaobi.data as d, miaobi.recipe as r; print(d.prepare(r.Recipe.load('recipe.yaml')).fingerprint)"
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = {process.communicate()[0] for process in running}
    assert all(process.returncode == 0 for process in running)
    assert printed == {prepare(poems).fingerprint + "\n"}
    assert len(list((tmp_path / "cache/prepared").iterdir())) == 1
