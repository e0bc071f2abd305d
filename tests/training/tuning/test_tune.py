"""The whole of it on real data: trials, a kill, the best as a recipe, and what is said."""

import json
import multiprocessing
import os
import signal
import time

import pytest
import yaml
from optuna.trial import TrialState

import miaobi
from miaobi.cli._app import run
from miaobi.errors import MissingExtra, RunFolderError, Unsupported
from miaobi.recipe import Recipe
from miaobi.training.run_folder import RunFolder
from miaobi.training.tracking import read_lines
from miaobi.training.tuning.study import Study
from miaobi.training.tuning.study_folder import StudyFolder
from tests.training.tuning.stand_ins import course

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["miaobi.training", "miaobi.training.tuning.searching", "miaobi.families.vae"])
COUNT = 7
RECIPE = {
    "note": "Digits by a small autoencoder.",
    "modality": "image",
    "data": {"source": "catalog:digits", "clean": {"limit": 300, "duplicates": "exact"}},
    "model": {"family": "vae", "size": "tiny", "network": {"name": "mlp"}, "options": {"latent": 4}},
    "train": {
        "steps": 40,
        "batch_size": 16,
        "learning_rate": 1e-4,
        "precision": "float32",
        "threads": 1,
        "tracking": [],
    },
    "evaluate": {"extractor": "pixels"},
    "tune": {
        "trials": COUNT,
        "evaluations": 8,
        "confirm": 2,
        "space": {
            "train.learning_rate": {"low": 1e-5, "high": 1e-2, "log": True},
            "model.options.latent": [2, 4, 8],
        },
    },
}


def tune(study, **more):
    return miaobi.tune(RECIPE, study=study, progress=False, **more)


def trials_of(root):
    recipe = Recipe.load(RECIPE)
    folder = StudyFolder(root)
    return Study(folder, folder.open(recipe, lambda one: pytest.fail("there is no study")))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that was left alone."""
    root = tmp_path_factory.mktemp("tuned") / "study"
    return tune(root)


def test_it_finds_better_than_a_recipe_that_learns_too_slowly_and_says_so(whole):
    assert whole.default["value"] > whole.best["value"]
    assert whole.best["parameters"]["train.learning_rate"] > 1e-3
    assert whole.confirmed.part == "test"
    assert whole.confirmed.gain > 0
    assert (whole.trials, whole.default["trial"]) == (COUNT, 0)
    assert "beyond noise" in whole.summary
    assert f"{whole.best['value']:.5g}" in whole.summary


def test_a_plainly_bad_learning_rate_is_pruned_and_its_run_says_why(whole):
    study = trials_of(whole.study)
    pruned = [trial for trial in study.trials() if trial.state is TrialState.PRUNED]
    assert len(pruned) == whole.pruned > 0
    for trial in pruned:
        lineage = json.loads(RunFolder(study.folder.trial(trial.number)).lineage.read_text())
        assert lineage["result"]["stopped"].startswith("pruned: ")
        assert lineage["result"]["steps"] == trial.user_attrs["steps"] < 40


def test_the_best_is_a_recipe_that_trains(whole, tmp_path):
    recipe = Recipe.load(whole.recipe)
    assert recipe.train.learning_rate == whole.best["parameters"]["train.learning_rate"]
    assert recipe.model.options["latent"] == whole.best["parameters"]["model.options.latent"]
    assert (recipe.train.steps, recipe.tune, recipe.train.batch_size) == (40, {}, 16)
    assert recipe.note.startswith("Digits by a small autoencoder.")
    assert whole.summary in recipe.note
    result = miaobi.train(whole.recipe, run=tmp_path / "run", changes=["train.evaluate_every=5"], progress=False)
    assert result.best["value"] == whole.best["value"], "the trial again"


def test_the_page_shows_every_trial_and_pictures(whole):
    page = (whole.study / "report.html").read_text()
    assert page.count("data:image/png") >= 2
    assert whole.summary in page
    assert all(f'<td class="number">{number}</td>' in page for number in range(COUNT))


def test_coming_again_does_nothing_again(whole):
    before = {path: path.stat().st_mtime_ns for path in (whole.study / "trials").rglob("metrics.jsonl")}
    assert tune(whole.study) == whole
    assert {path: path.stat().st_mtime_ns for path in (whole.study / "trials").rglob("metrics.jsonl")} == before


def test_another_recipe_is_refused(whole):
    with pytest.raises(RunFolderError, match="batch_size: 16 -> 8"):
        tune(whole.study, changes=["train.batch_size=8"])


def _apart(root):
    tune(root)


def _done(root, number):
    return max((line["step"] for line in read_lines(root / "trials" / f"{number:04d}" / "metrics.jsonl")), default=-1)


def test_two_processes_one_killed_in_a_training_end_with_the_same_figures(whole, tmp_path):
    """What is drawn after trial 0 depends on who was quicker; what a trial comes to does not."""
    root = tmp_path / "study"
    first, second = (_PROCESSES.Process(target=_apart, args=(root,)) for _ in range(2))
    first.start()
    began = time.monotonic()
    while _done(root, 1) < 10:
        assert time.monotonic() - began < 60
        time.sleep(0.002)
    second.start()
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    second.join(120)
    assert second.exitcode == 0
    found = trials_of(root).trials()
    assert [trial.number for trial in found] == list(range(COUNT))
    assert all(trial.state.is_finished() for trial in found)
    # One process at a time worked on it, so it is also the very same search.
    assert course(trials_of(root)) == course(trials_of(whole.study))
    assert (root / "best.yaml").read_text().replace("study", "") == whole.recipe.read_text().replace("study", "")


def test_the_command_prints_one_object(whole, tmp_path, capfd):
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    assert run(["tune", str(tmp_path / "digits.yaml"), "--study", str(whole.study), "--json"]) == 0
    said = json.loads(capfd.readouterr().out)
    assert said["trials"] == COUNT
    assert set(said["best"]) == {"trial", "value", "parameters"}
    assert said["default"] == whole.default
    assert said["recipe"] == str(whole.study / "best.yaml")
    assert said["confirmed"]["beyond_noise"] == whole.confirmed.beyond_noise
    assert run(["tune", str(tmp_path / "digits.yaml"), "--study", str(whole.study)]) == 0
    assert "next: miaobi train" in capfd.readouterr().out


@pytest.mark.parametrize("space", ["{train.learning_raet: [1.0, 2.0]}", "{train.learning_rate: [1.0]}", "3"])
def test_a_space_without_sense_exits_2_and_leaves_no_study(space, tmp_path, capfd):
    (tmp_path / "digits.yaml").write_text(yaml.safe_dump(RECIPE, sort_keys=False))
    arguments = ["tune", str(tmp_path / "digits.yaml"), "--study", str(tmp_path / "s"), "--set", f"tune.space={space}"]
    assert run(arguments) == 2
    assert "tune.space" in capfd.readouterr().err.replace("recipe.train", "recipe.tune.space")
    assert not (tmp_path / "s" / "study.json").exists()


def test_without_optuna_the_command_that_brings_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr("miaobi.training.tuning.importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'miaobi\[search\]'"):
        tune(tmp_path)


def test_torchrun_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(Unsupported, match="torchrun"):
        tune(tmp_path)
