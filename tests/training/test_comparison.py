"""A comparison: planned once, the same after SIGKILL, and refused before any work where the request is wrong."""

from __future__ import annotations

import html
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from miaobi.cli._app import run as cli
from miaobi.errors import InvalidRecipe, RunFolderError, Unsupported
from miaobi.recipe import Recipe
from miaobi.training.comparison import Budget, compare
from miaobi.training.comparison.entrants import Entrant
from miaobi.training.comparison.folder import Folder
from miaobi.training.comparison.rows import Measuring, _notes
from tests.support.killing import _PROCESSES
from tests.support.worlds import write_lines

TIMES = ("seconds", "samples_per_second", "watt_hours_estimated")


def recipe(folder: Path, network: str = "lstm", **sections: Any) -> dict[str, Any]:
    source = folder / "lines.jsonl"
    if not source.exists():
        write_lines(source, 300)
    return {
        "modality": {"name": "text", "max_length": 80},
        "data": {"source": str(source), "content": "text", "condition": {"title": "text"}},
        "model": {"family": "autoregressive", "size": "tiny", "network": {"name": network}},
        "train": {"threads": 1, "tracking": [], "batch_size": 8, "checkpoint_every": 5},
        "evaluate": {"samples": 20},
        **sections,
    }


def settled(out: Path) -> dict[str, Any]:
    """What a comparison came to, without times."""
    result = json.loads((out / "result.json").read_text())
    for row in result["rows"]:
        for key in TIMES:
            del row[key]
    return {key: result[key] for key in ("rows", "ranking")}


def _compare(recipes: list[Any], out: str) -> None:
    compare(recipes, budget="40steps", out=out, progress=False)


def test_killed_and_started_again_it_comes_to_the_same(tmp_path: Path) -> None:
    recipes = [recipe(tmp_path), recipe(tmp_path, "gru")]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    found = compare(recipes, budget="40steps", out=whole, progress=False)
    assert [row.name for row in found.rows] == ["autoregressive", "autoregressive-2", "ngram"]
    # The steps that a budget came to are a measurement: both go by the first one's.
    killed.mkdir()
    shutil.copy(whole / "compare.json", killed / "compare.json")
    process = _PROCESSES.Process(target=_compare, args=(recipes, str(killed)))
    process.start()
    second, began = killed / "runs" / "autoregressive-2" / "checkpoints", time.monotonic()
    while not (second.is_dir() and len(list(second.glob("[!.]*"))) > 1):
        assert process.is_alive()
        assert time.monotonic() - began < 120
        time.sleep(0.002)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    row = (killed / "rows" / "autoregressive.json").read_bytes()
    assert not (killed / "rows" / "autoregressive-2.json").exists()
    compare(recipes, budget="40steps", out=killed, progress=False)
    assert (killed / "rows" / "autoregressive.json").read_bytes() == row
    assert settled(killed) == settled(whole)
    for name in ("autoregressive", "autoregressive-2"):
        shipped = [out / "runs" / name / "model" / "model.safetensors" for out in (whole, killed)]
        assert shipped[0].read_bytes() == shipped[1].read_bytes()


def test_the_page_and_the_json_say_the_rule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "<b>odd&name.yaml"
    path.write_text(yaml.safe_dump(recipe(tmp_path)))
    out = tmp_path / "out"
    arguments = ["compare", str(path), "--budget", "2s", "-o", str(out), "--watts", "50", "--json"]
    assert cli(arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"rows", "ranking", "page"}
    assert [row["name"] for row in answer["rows"]] == ["<b>odd&name", "ngram"]
    page = Path(answer["page"]).read_text()
    assert "<b>odd" not in page
    assert "&lt;b&gt;odd&amp;name" in page
    assert "50 W, which is assumed" in page
    assert html.escape(answer["ranking"]["rule"]) in page
    assert 'src="http' not in page
    first = answer["rows"][0]
    assert first["watt_hours_estimated"] == pytest.approx(first["seconds"] * 50 / 3600)
    assert {"bits_per_byte", "copied_share", "pasted_share", "least_overlap"} <= set(first["scores"])
    protocol = first["scores"]["least_overlap"]["protocol"]
    assert protocol["versions"]["sacrebleu"]
    assert protocol["conditions"] == ["title"]
    planned = json.loads((out / "compare.json").read_text())["train"]["<b>odd&name"]["steps"]
    assert first["steps"] == planned > 0
    began = time.monotonic()
    assert cli(arguments) == 0
    assert json.loads(capsys.readouterr().out) == answer, "a finished comparison is read, not made again"
    assert time.monotonic() - began < 20
    assert cli([*arguments, "--samples", "15"]) == 2
    assert "differs in samples" in json.loads(capsys.readouterr().out)["error"]["message"]


@pytest.mark.parametrize(
    "budget", ["0s", "-3", "abc", "1e99", "", "0steps", "1.5steps", "nan", "inf", "99999999h", "10 parsecs", "٣s"]
)
def test_nonsense_is_no_budget(budget: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidRecipe, match="not a budget"):
        compare([recipe(tmp_path)], budget=budget, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "expected"),
    [("300s", (300, None)), ("5m", (300, None)), ("2h", (7200, None)), (12.5, (12.5, None)), ("7steps", (None, 7))],
)
def test_a_budget_is_seconds_or_steps(given: Any, expected: tuple[float | None, int | None]) -> None:
    found = Budget.parse(given)
    assert (found.seconds, found.steps) == expected


def test_wrong_requests_are_refused_before_any_work(tmp_path: Path) -> None:
    first = recipe(tmp_path)
    other = recipe(tmp_path, "gru", data={**first["data"], "split": {"test": 0.2}})
    label = {"modality": "label", "data": {**first["data"], "content": "kind"}, "model": {"family": "classifier"}}
    stages = recipe(tmp_path, stages={"one": {}})
    wrong: list[tuple[list[Any], type[Exception], str]] = [
        ([], InvalidRecipe, "nothing to compare"),
        ([first, first], InvalidRecipe, "same recipe"),
        ([first, {**first, "note": "again"}], InvalidRecipe, "same recipe"),
        ([first, other], InvalidRecipe, r"autoregressive-2 is not on the data of autoregressive: data\.split"),
        ([first, {**recipe(tmp_path, "gru"), "modality": "text"}], InvalidRecipe, "modality differs"),
        ([label], Unsupported, "makes no samples|not compared by their samples"),
        ([stages], Unsupported, "stages"),
    ]
    for recipes, kind, said in wrong:
        with pytest.raises(kind, match=said):
            compare(recipes, out=tmp_path / "out", progress=False)
    for options in ({"watts": 0}, {"watts": float("nan")}, {"samples": 1}, {"quality": "bits_per_byte"}):
        with pytest.raises(InvalidRecipe):
            compare([first], out=tmp_path / "out", progress=False, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    first = recipe(tmp_path)
    with pytest.raises(RunFolderError, match="something else"):
        compare([first], out=tmp_path, progress=False)


def test_a_second_start_is_refused_while_the_first_is_at_work(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with Folder(out).held(), pytest.raises(RunFolderError, match="another process is at work"):
        compare([recipe(tmp_path)], budget="2steps", out=out, progress=False)
    assert not (out / "compare.json").exists(), "nothing was planned or trained"
    with Folder(out).held():
        pass


def test_data_that_changed_in_between_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    out, first = tmp_path / "out", recipe(tmp_path)
    compare([first], budget="4steps", out=out, with_baselines=False, progress=False)
    shutil.rmtree(out / "rows")
    shutil.rmtree(out / "runs")
    write_lines(tmp_path / "lines.jsonl", 320)
    with pytest.raises(InvalidRecipe, match="the data changed"):
        compare([first], budget="4steps", out=out, with_baselines=False, progress=False)
    assert not (out / "runs").exists()


def test_settings_of_evaluation_without_effect_are_noted(tmp_path: Path) -> None:
    plain, own = recipe(tmp_path), recipe(tmp_path, "gru")
    own["evaluate"] = {"extractor": "pixels", "options": {"statistics": {"seed": 1}}}
    how = Measuring("statistics.least_overlap", 20, 0, "efficientnet_lite0")
    first, second = (Entrant(str(n), Recipe.load(one)) for n, one in enumerate((plain, own)))
    assert _notes(first, how) == []
    options, extractor = _notes(second, how)
    assert "evaluate.options (statistics) had no effect" in options
    assert "evaluate.extractor pixels had no effect" in extractor


def test_no_recipe_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["compare"]) == 2
    assert "RECIPE" in capsys.readouterr().err
