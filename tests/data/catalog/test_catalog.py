from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from miaobi import modalities
from miaobi.data import catalog, prepare
from miaobi.data.catalog import fashion_mnist, poem_dynasties
from miaobi.data.catalog._poetry import _record
from miaobi.errors import FetchFailed, UnknownName
from miaobi.recipe import Recipe, plugin_name

OFFLINE = ["digits", "python-topics"]
FETCHED = {"fashion-mnist": 70_000, "tang-poems": 56_103, "song-poems": 19_999, "poem-dynasties": 112_206}


def test_every_data_set_says_what_it_is() -> None:
    found = {summary["name"]: summary for summary in catalog.available()}
    assert {*OFFLINE, *FETCHED} <= set(found)
    for summary in found.values():
        assert summary["licence"]
        assert summary["version"]
        assert {plugin_name(m) for m in (summary["modality"], *summary["conditions"].values())} <= set(
            modalities.names()
        )


@pytest.mark.parametrize("name", OFFLINE)
def test_records_have_the_columns_that_are_promised(name: str, tmp_path: Path) -> None:
    known = catalog.find(name)
    for record in islice(known.records(tmp_path), 50):
        assert {known.content, *known.conditions} <= set(record)
        modalities.create(known.modality).read(record[known.content])
    lines: list[str] = []
    summary = catalog.get(name, tmp_path, lines.append)
    assert summary["records"] > 1000
    assert known.licence in lines[0]


@pytest.mark.parametrize("name", OFFLINE)
def test_they_can_be_prepared(name: str) -> None:
    known = catalog.find(name)
    section = {"source": f"catalog:{name}", "condition": dict(known.conditions)}
    made = prepare(Recipe.load({"modality": known.modality, "data": section, "model": {"family": "vae"}}))
    assert made.licence == known.licence
    assert len(made.validation) > 100


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean digits"):
        catalog.find("digit")


def test_notes_are_taken_out_and_poems_with_gaps_are_left_out() -> None:
    assert _record(["春眠不覺曉，", "處處聞（一作", "聽）啼鳥。"], "春曉（題擬）", "孟浩然") == {
        "text": "春眠不覺曉，\n處處聞啼鳥。",
        "title": "春曉",
        "author": "孟浩然",
    }
    assert _record(["冰□已鏤津。"], "守歲", "高宗皇帝") is None
    assert _record([], "", "佚名") is None


@pytest.mark.parametrize(("count", "kept"), [(3, [0, 3, 6]), (10, list(range(10))), (99, list(range(10))), (0, [])])
def test_song_poems_are_taken_evenly(count: int, kept: list[int]) -> None:
    taken = poem_dynasties.spaced(lambda: iter({"text": str(index)} for index in range(10)), count)
    assert [int(record["text"]) for record in taken] == kept


def test_a_damaged_idx_file_is_said(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])))
    assert fashion_mnist.read_idx(path).tolist() == [7, 8, 9]
    for damaged in (path.read_bytes()[:-9], gzip.compress(bytes([0, 0, 9, 1, 0, 0, 0, 1, 7])), b"no gzip"):
        path.write_bytes(damaged)
        with pytest.raises(FetchFailed, match="delete"):
            fashion_mnist.read_idx(path)


@pytest.mark.registry
@pytest.mark.parametrize("name", FETCHED)
def test_a_fetched_data_set_holds_what_it_promises(name: str) -> None:
    known = catalog.find(name)
    assert catalog.get(name)["records"] == FETCHED[name]
    record = next(known.records(catalog.cache_folder()))
    assert {known.content, *known.conditions} <= set(record)


@pytest.mark.registry
def test_fashion_mnist_is_divided_as_given() -> None:
    section = {"source": "catalog:fashion-mnist", "condition": ["label"], "clean": {"duplicates": "exact"}}
    made = prepare(Recipe.load({"modality": "image", "data": section, "model": {"family": "vae"}}))
    assert len(made.test) == 10_000
    assert len(made.train) + len(made.validation) == 60_000
    assert abs(len(made.validation) - 6000) < 300
    shown = made.test.batch(range(2))
    labels = [made.conditions["label"].decode(value) for value in shown.conditions["label"].values.numpy()]
    assert labels == ["ankle boot", "pullover"]
