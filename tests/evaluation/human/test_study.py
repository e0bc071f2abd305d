"""From models and folders to a study: the same conditions for every model, held-out data beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from miaobi import training
from miaobi.cli._app import run
from miaobi.data import prepare
from miaobi.errors import DataError, InvalidRecipe, RunFolderError, Unsupported
from miaobi.evaluation.human import Role, Study, rate, results
from miaobi.evaluation.human.records import REAL
from miaobi.evaluation.human.sources import aligned, gather
from miaobi.models import load
from miaobi.recipe import Recipe
from miaobi.types import Form
from tests.evaluation.human.studies import SECRET, pictures, simulated_answers, text_study, texts
from tests.evaluation.stand_ins import digits, sentences
from tests.support.worlds import label_sections, recipe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Text models of one data set, two with the same condition, one without any; and a model of labels."""
    folder = tmp_path_factory.mktemp("rated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIAOBI_CACHE", str(folder / "cache"))
        settings = recipe("ngram", Form.TOKENS, folder / "data")
        short = {**settings, "model": {**settings["model"], "options": {"order": 2}}}
        free = {**settings, "data": {**settings["data"], "condition": {}}}
        labels = recipe("classifier", Form.LABEL, folder / "data", steps=2, evaluate_every=2)
        made = {"first": settings, "second": short, "free": free, "labels": {**labels, **label_sections(folder)}}
        yield {name: Path(training.train(one, run=folder / name, progress=False).run) for name, one in made.items()}


@pytest.fixture(autouse=True)
def _same_cache(world: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIAOBI_CACHE", str(world["first"].parent / "cache"))


def test_models_are_given_the_same_conditions_and_raters_see_them(world: dict[str, Path], tmp_path: Path) -> None:
    study = rate([world["first"], world["second"]], task="likert", n=8, out=tmp_path / "study")
    assert study.design.systems == ("first", "second", REAL)
    assert study.design.aligned
    shown = [trial for trial in study.trials if trial.role is Role.RATED]
    assert len(shown) == 3 * study.design.items
    for number in range(study.design.items):
        pieces = [study.pieces[trial.pieces[0]] for trial in shown if trial.set == number]
        assert [piece.system for piece in pieces] == ["first", "second", REAL]
        assert len({piece.given for piece in pieces}) == 1
        assert pieces[0].given in ("kind: long", "kind: short")


def test_real_items_are_held_out(world: dict[str, Path], tmp_path: Path) -> None:
    study = rate([world["first"]], task="real", n=10, out=tmp_path / "study")
    model = load(world["first"])
    prepared = prepare(Recipe.load(model.info["recipe"]), fitted=(model.modality, model.conditions))
    held = prepared.part("test")
    arrays = map(model.modality.encode, held.items(range(len(held))))
    items = {model.modality.decode(array) for array in arrays}
    real = [piece.text for piece in study.pieces.values() if piece.system == REAL]
    intact = [text for text in real if text in items]
    broken = [trial for trial in study.trials if trial.role is Role.BROKEN]
    assert len(intact) == len(real) - len(broken)


def test_a_model_makes_what_it_made_and_another_seed_something_else(world: dict[str, Path]) -> None:
    first, again, other = (gather([world["first"]], 12, seed=seed)[0].items for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_a_model_without_conditions_is_matched_by_length_alone(world: dict[str, Path], tmp_path: Path) -> None:
    found = gather([world["first"], world["free"]], 12)
    assert not aligned(found)
    study = rate([world["first"], world["free"]], task="pairs", n=6, out=tmp_path / "study")
    assert not study.design.aligned
    assert all(piece.given == "" for piece in study.pieces.values())


def test_conditions_of_other_data_are_refused(world: dict[str, Path]) -> None:
    found = gather([world["first"], world["second"]], 12)
    assert aligned(found)
    found[1] = replace(found[1], keys=["kind: other"] * 12)
    with pytest.raises(DataError, match="different held-out items"):
        aligned(found)


def test_a_model_beside_a_folder(world: dict[str, Path], tmp_path: Path) -> None:
    study = rate([world["first"], texts(tmp_path / "writers", sentences(40))], n=5, task="pairs", out=tmp_path / "s")
    assert study.design.systems == ("first", "writers")
    assert study.design.sources["writers"] == str(tmp_path / "writers")


def test_what_cannot_be_rated_is_refused(world: dict[str, Path], tmp_path: Path) -> None:
    lines, items = texts(tmp_path / "lines", sentences(30)), pictures(tmp_path / "items", digits(30))
    (tmp_path / "empty").mkdir()
    out = tmp_path / "study"
    refused: list[tuple[type[Exception], str, list[Path], dict[str, Any]]] = [
        (Unsupported, "cannot rate", [world["labels"]], {}),
        (DataError, "different kinds", [lines, items], {}),
        (DataError, "neither a model nor files", [tmp_path / "empty"], {}),
        (DataError, "no real items", [lines], {"task": "real"}),
        (InvalidRecipe, "named twice", [lines, lines], {}),
        (InvalidRecipe, "not a rating task", [lines], {"task": "stars"}),
        (InvalidRecipe, "out of range", [lines], {"n": 0}),
        (InvalidRecipe, "cannot tell", [lines], {"ties": True}),
        (InvalidRecipe, "question", [lines], {"question": ""}),
        (RunFolderError, "no model here", [tmp_path / "nowhere"], {}),
        (DataError, "like length", [lines, texts(tmp_path / "long", ["x" * 900])], {}),
    ]
    for error, message, sources, options in refused:
        with pytest.raises(error, match=message):
            rate(sources, out=out, **options)
        assert not (out / "study.json").exists()


def test_fewer_sets_than_asked_for_are_told(tmp_path: Path) -> None:
    lines = sentences(40)
    study = rate(
        [texts(tmp_path / "a", lines[::2]), texts(tmp_path / "b", lines[1::2])], task="pairs", n=500, out=tmp_path / "s"
    )
    assert study.design.items < study.design.requested == 500
    assert any("of 500 asked for" in note for note in results(study.folder).notes)


def test_unreadable_files_are_left_out_and_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "items", digits(20))
    (folder / "0003.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"left out 0003\.png"):
        found = gather([folder], 50)
    assert len(found[0].items) == 19


def test_a_study_is_not_written_over(tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert")
    with pytest.raises(RunFolderError, match="a study already"):
        rate([tmp_path / SECRET], out=study.folder)


def test_the_verb_says_what_a_study_says(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    study = text_study(tmp_path, "real", systems=1)
    simulated_answers(study, "simulated", lambda shown: str(shown.pieces[0]))
    assert run(["rate", str(study.folder), "--results", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["kept"] == 1
    assert found["figures"][0]["name"] == "accuracy_against_real"
    assert Path(found["page"]).is_file()
    assert run(["rate", str(study.folder), "--results"]) == 0
    shown = capfd.readouterr().out
    assert "accuracy_against_real" in shown
    assert "1 of 1 raters count" in shown


def test_the_verb_makes_serves_and_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Any] = []

    def serve(study: Study, raters: Any, *, port: int, ready: Any) -> bool:
        served.append((study.folder, list(raters), port))
        ready({rater: f"http://127.0.0.1/{rater}/" for rater in raters})
        return False

    monkeypatch.setattr("miaobi.evaluation.human.serve", serve)
    folder, out = texts(tmp_path / "lines", sentences(60)), tmp_path / "study"
    asked = ["--task", "likert", "-n", "5", "--raters", "ann,bo", "--port", "8123", "-o", str(out), "--no-browser"]
    assert run(["rate", str(folder), *asked]) == 0
    out_text, err = capfd.readouterr()
    assert "ann: http://127.0.0.1/ann/" in err
    assert "No answers that count yet." in out_text
    assert run(["rate", str(out), "--no-browser"]) == 0
    assert served == [(out, ["ann", "bo"], 8123), (out, ["rater"], 0)]
    capfd.readouterr()
    for wrong in (
        ["rate", str(out), "--question", "Another?"],
        ["rate", str(out), str(folder), "--results"],
        ["rate", str(folder), "--results"],
        ["rate"],
    ):
        assert run(wrong) == 2, wrong
