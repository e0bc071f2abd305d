"""What an item brings besides its conditions: the rejected answer, or whether it is desirable."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from miaobi import modalities
from miaobi.data import Loader, Prepared, inspect, prepare
from miaobi.errors import DataError, InvalidRecipe, UnreadableItem
from miaobi.modalities import Truth
from miaobi.recipe import DataSettings, Recipe

PAIRS: dict[str, Any] = {"condition": {"prompt": "text"}, "extra": {"rejected": {"column": "rejected"}}}


def answers(count: int = 120) -> list[dict[str, Any]]:
    return [
        {
            "prompt": f"ask {n}",
            "chosen": f"good {n} {'yes ' * (n % 5)}.",
            "rejected": f"bad zig {n}",
            "label": n % 3 == 0,
        }
        for n in range(count)
    ]


def made(folder: Path, rows: list[dict[str, Any]], modality: Any = "text", **data: Any) -> Prepared:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return prepare(
        Recipe.load({"modality": modality, "data": {"source": str(path), **data}, "model": {"family": "vae"}})
    )


def where(prepared: Prepared) -> dict[str, str]:
    """The part of each rejected answer."""
    found = {}
    for part in (prepared.train, prepared.validation, prepared.test):
        batch = part.batch(range(len(part))) if len(part) else None
        if batch is not None:
            other = batch.extra["rejected"]
            for array in prepared.modality.split_batch(other.values, other.lengths):
                found[prepared.modality.decode(array)] = part.part
    return found


def test_the_rejected_answer_goes_with_its_item(tmp_path: Path) -> None:
    prepared = made(tmp_path, answers(), **PAIRS)
    # The first column that is not taken is the target.
    assert all(item.startswith("good") for item in prepared.train.items(range(5)))
    batch = prepared.train.batch([3, 0])
    numbers = [item.split()[1] for item in prepared.train.items([3, 0])]
    other = batch.extra["rejected"]
    arrays = prepared.modality.split_batch(other.values, other.lengths)
    assert [prepared.modality.decode(array) for array in arrays] == [f"bad zig {number}" for number in numbers]
    assert batch.to("cpu").select(slice(0, 1)).extra["rejected"].values.shape[0] == 1
    assert prepared.train.sizes().min() > max(len(f"good {n} .") for n in range(10))  # type: ignore[union-attr]


def test_a_tokenizer_is_fitted_on_the_rejected_answers_too(tmp_path: Path) -> None:
    tokenizer = made(tmp_path, answers(), **PAIRS).modality.tokenizer
    assert tokenizer is not None
    assert b"z" in {tokenizer.token_bytes(token) for token in range(tokenizer.size)}


def test_batches_of_a_loader_have_them_over_the_end_of_an_epoch(tmp_path: Path) -> None:
    prepared = made(tmp_path, answers(40), **PAIRS)
    with Loader(prepared.train, 24, seed=0) as loader:
        for index in range(3):
            batch = loader.batch(index)
            ids = prepared.train.ids.tolist()
            alone = prepared.train.batch([ids.index(item) for item in batch.ids.tolist()]).extra["rejected"]
            width = alone.values.shape[1]
            assert batch.extra["rejected"].lengths.tolist() == alone.lengths.tolist()  # type: ignore[union-attr]
            assert batch.extra["rejected"].values[:, :width].tolist() == alone.values.tolist()


def test_rows_that_differ_in_the_rejected_answer_alone_are_two_items_of_one_group(tmp_path: Path) -> None:
    rows = answers()
    more = [row | {"rejected": f"bad zag {n}"} for n, row in enumerate(rows)]
    prepared = made(tmp_path, [*rows, *more], **PAIRS)
    parts = where(prepared)
    assert len(parts) == 240
    assert len({*prepared.train.ids.tolist(), *prepared.validation.ids.tolist(), *prepared.test.ids.tolist()}) == 240
    assert all(parts[f"bad zig {n}"] == parts[f"bad zag {n}"] for n in range(120))


def test_an_answer_that_is_preferred_in_one_row_and_rejected_in_another_stays_in_one_part(tmp_path: Path) -> None:
    rows = [{"chosen": f"best of all {n * n}", "rejected": f"middling {n}"} for n in range(100)]
    rows += [{"chosen": f"middling {n}", "rejected": f"worst {n}"} for n in range(100)]
    parts = where(made(tmp_path, rows, content="chosen", extra=["rejected"]))
    assert {*parts.values()} == {"train", "validation", "test"}
    assert all(parts[f"middling {n}"] == parts[f"worst {n}"] for n in range(100))


def test_equal_answers_are_left_out_counted_and_named(tmp_path: Path) -> None:
    rows = answers()
    rows[7]["rejected"] = rows[7]["chosen"]
    report = made(tmp_path, rows, **PAIRS).report.data
    assert report["items"] == {"read": 120, "kept": 119}
    assert report["unreadable"]["count"] == 1
    (named,) = report["unreadable"]["examples"]
    assert "8" in named["where"]
    assert named["reason"].startswith("the columns chosen and rejected are equal")


def test_marks_are_read_as_they_are_written(tmp_path: Path) -> None:
    prepared = made(tmp_path, answers(), content="chosen", extra={"desirable": "label"})
    rows = range(len(prepared.train))
    marks = prepared.train.batch(rows).extra["desirable"].values.tolist()
    expected = [int(item.split()[1]) % 3 == 0 for item in prepared.train.items(rows)]
    assert marks == [int(mark) for mark in expected]
    assert prepared.report.data["labels"]["extra.desirable"]["counts"] == {"false": 80, "true": 40}


@pytest.mark.parametrize(
    ("raw", "class_of"), [(True, 1), (False, 0), (1, 1), (0.0, 0), ("True", 1), ("false", 0), ("0", 0)]
)
def test_truth_values(raw: Any, class_of: int) -> None:
    truth = Truth()
    assert int(truth.encode(truth.read(raw))) == class_of


@pytest.mark.parametrize("raw", ["good", "yes", 2, -1, 0.5, "", [True], {}])
def test_anything_else_is_not_a_truth_value(raw: Any) -> None:
    with pytest.raises(UnreadableItem):
        Truth().read(raw)
    assert "truth" not in modalities.names()


def test_labels_that_are_not_booleans_stop_the_run_and_are_named(tmp_path: Path) -> None:
    rows = [row | {"label": "good" if row["label"] else "bad"} for row in answers()]
    with pytest.raises(DataError, match="'good' is neither true nor false"):
        made(tmp_path, rows, content="chosen", extra={"desirable": "label"})


def test_a_row_without_the_other_answer_is_unreadable(tmp_path: Path) -> None:
    rows = answers()
    rows[3]["rejected"] = None
    report = made(tmp_path, rows, **PAIRS).report.data
    assert [one["reason"] for one in report["unreadable"]["examples"]] == ["nothing in the column rejected"]


def test_a_missing_column_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean rejected"):
        made(tmp_path, answers(), content="chosen", extra={"rejected": {"column": "rejectd"}})


def test_what_cannot_be_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match=r"data\.augment"):
        made(tmp_path, answers(), augment={"crop": 1}, **PAIRS)
    stream = tmp_path / "one.txt"
    stream.write_text("a long text " * 50)
    with pytest.raises(InvalidRecipe, match="conditions or extras"):
        prepare(
            Recipe.load(
                {"modality": "text", "data": {"source": str(stream), "extra": ["rejected"]}, "model": {"family": "vae"}}
            )
        )
    with pytest.raises(InvalidRecipe, match="'rejected' or 'desirable'"):
        DataSettings.parse({"source": "x", "extra": {"refused": {}}})


def test_the_short_forms() -> None:
    for said in ({"desirable": "label"}, {"desirable": {"column": "label"}}):
        assert DataSettings.parse({"source": "x", "extra": said}).extra["desirable"].column == "label"
    assert DataSettings.parse({"source": "x", "extra": ["rejected"]}).extra["rejected"].column is None


def test_inspecting_tells_of_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in answers()))
    report = inspect(str(path), "text", data={"content": "chosen", "extra": {"rejected": {}, "desirable": "label"}})
    assert "extra.desirable" in report.render()
    assert "extra.rejected" in report.data["conditions"]
