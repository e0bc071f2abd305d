"""Refreshes: versions of a run that learn new data, forget less with replay, and resume bit for bit."""

import json
import shutil
from pathlib import Path

import pytest

from miaobi import load, models, training
from miaobi.data import prepare
from miaobi.errors import InvalidRecipe, RunFolderError, Unsupported
from miaobi.evaluation.paired import compare_on
from miaobi.recipe import Recipe
from miaobi.training import train
from miaobi.training.assembly import Assembly
from miaobi.training.continual.refreshing import check, recipe_of
from miaobi.types import Form
from tests.support import worlds
from tests.support.killing import assert_identical, killed
from tests.support.refreshed import QUICK, base, copied, data, read, recipe, refreshed, write

NEW = str(data() / "new.jsonl")


@pytest.fixture
def run(tmp_path):
    return copied(tmp_path)


class Killed(BaseException):
    """As good as SIGKILL: nothing of ours catches it."""


def stop_at(monkeypatch, step):
    take = Assembly.step

    def stepping(self, state, steps):
        if state.step == step:
            raise Killed
        return take(self, state, steps)

    monkeypatch.setattr(Assembly, "step", stepping)


def test_a_refresh_is_a_run_of_its_own_and_changes_nothing_of_the_old_one(run):
    before = (run / "model" / "model.safetensors").read_bytes()
    result = refreshed(run, *QUICK)
    assert result.run == run / "versions" / "0002"
    assert (run / "model" / "model.safetensors").read_bytes() == before
    assert models.resolve(run) == run / "model"
    assert {"recipe.yaml", "lineage.json", "model", "checkpoints", "metrics.jsonl", "report.html", "gates.json"} <= {
        path.name for path in result.run.iterdir()
    }
    made = Recipe.load(result.run)
    assert (made.model.start, made.refresh.parent) == ("version:0001", "version:0001")
    assert made.data.source == NEW
    assert str(run) not in (result.run / "recipe.yaml").read_text()
    assert result.gates == json.loads((result.run / "gates.json").read_text())
    page = (result.run / "report.html").read_text()
    assert "<h2>Gates</h2>" in page
    assert "forgetting on" in page


def test_it_starts_from_the_old_model(run):
    result = refreshed(run, "train.steps=1", "train.learning_rate=1e-9", "refresh.forget=0.5")
    ours, theirs = load(result.model).family.state_dict(), load(run).family.state_dict()
    assert all((ours[name] - theirs[name]).abs().max() < 1e-6 for name in theirs)
    gain, forgetting = result.gates["gates"]
    assert gain["change"] == pytest.approx(0, abs=1e-4)
    assert forgetting["change"] == pytest.approx(0, abs=1e-4)


def test_replay_forgets_less_beyond_noise_while_the_new_data_gains(tmp_path):
    found = {}
    for replay in (0, 0.5):
        run = shutil.copytree(base(), tmp_path / f"{replay}")
        found[replay] = refreshed(run, "refresh.steps=80", f"refresh.replay={replay}")
    gains, losses = ([found[replay].gates["gates"][which] for replay in (0, 0.5)] for which in (0, 1))
    assert all(gate["interval"][0] > 0.1 for gate in gains)
    naive, replayed = (models.load(found[replay].model) for replay in (0, 0.5))
    known = prepare(Recipe.load(base()), fitted=(naive.modality, {}))
    spared = compare_on(naive, replayed, known, "likelihood", count=1000, seed=0)
    assert spared.interval[0] > 0
    assert losses[0]["interval"][0] > 0
    assert losses[1]["change"] < losses[0]["change"]


def test_settings_of_the_refresh_stand_in_for_those_of_the_run():
    made = recipe_of(base(), NEW, "0001", ["refresh.steps=7", "refresh.learning_rate=1e-5"])
    assert (made.train.steps, made.train.learning_rate) == (7, 1e-5)
    kept = recipe_of(base(), NEW, "0001")
    assert kept.train == Recipe.load(base()).train


def test_killed_and_resumed_it_is_the_same_run(run, tmp_path):
    changes = ["train.steps=12", "train.checkpoint_every=3", "refresh.distil=0.5"]
    whole = refreshed(run, *changes).run.rename(tmp_path / "whole")
    asked = recipe_of(run, NEW, "0001", changes).to_json()
    killed(asked, run / "versions" / "0002", 5)
    refreshed(run, *changes, resume=True)
    assert_identical(whole, run / "versions" / "0002")
    verdicts = [json.loads((place / "gates.json").read_text()) for place in (whole, run / "versions" / "0002")]
    assert verdicts[0] == verdicts[1]


def test_a_refresh_that_was_left_is_gone_on_with_or_refused(run, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Killed):
            refreshed(run, *QUICK)
    with pytest.raises(RunFolderError, match=r"not finished.*versions/0002 --resume"):
        refreshed(run, *QUICK)
    with pytest.raises(RunFolderError, match="recipe differs"):
        refreshed(run, *QUICK, "refresh.replay=0.1", resume=True)
    assert refreshed(run, *QUICK, resume=True).run.name == "0002"
    again = refreshed(run, *QUICK, resume=True)
    assert again.run.name == "0002"
    assert refreshed(run, *QUICK).run.name == "0003"


def test_the_version_goes_on_by_its_own_folder_too(run, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 2)
        with pytest.raises(Killed):
            refreshed(run, *QUICK)
    moved = run.rename(run.with_name("moved"))
    result = train(moved / "versions" / "0002", resume=True, progress=False)
    assert [gate["gate"] for gate in result.gates["gates"]] == ["gain", "forgetting"]
    assert json.loads((moved / "lineage.json").read_text())["versions"]["0002"]["parent"] == "0001"


def test_every_earlier_data_set_is_replayed_and_guarded(run, tmp_path):
    texts = read(Path(NEW))
    first, second = (write(tmp_path / f"{i}.jsonl", texts[i::2]) for i in range(2))
    refreshed(run, *QUICK, "refresh.gain=0", "train.steps=40", source=first)
    training.continual.promote(run)
    result = refreshed(run, *QUICK, source=second)
    assert result.gates["parent"] == "0002"
    assert [gate["source"] for gate in result.gates["gates"]] == [str(second), str(data() / "old.jsonl"), str(first)]
    assert result.gates["data"]["old"] > len(texts) / 2
    # What is forgotten counts from the version that learnt it, however many refreshes there were.
    gain, oldest, old = result.gates["gates"]
    assert [gate.get("since") for gate in (gain, oldest, old)] == [None, "0001", "0002"]
    first_gates = json.loads((run / "versions" / "0002" / "gates.json").read_text())["gates"]
    assert oldest["before"] == pytest.approx(first_gates[1]["before"])
    assert old["before"] == pytest.approx(first_gates[0]["after"])


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (["refresh.replai=0.5"], InvalidRecipe, "did you mean replay"),
        (["refresh.replay=1"], InvalidRecipe, "less than 1"),
        (["refresh.forget=0"], InvalidRecipe, "greater than 0"),
        (["refresh.parent=version:0009"], InvalidRecipe, "not a setting"),
        (["refresh.metric=diversity"], Unsupported, "item by item"),
        (["refresh.metric=denoising"], Unsupported, "cannot measure autoregressive by denoising"),
        (["model={family: ngram, size: tiny}"], Unsupported, "one pass"),
        (["model={family: text_gan, size: tiny}"], Unsupported, "item by item"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(run, changes, error, said):
    with pytest.raises(error, match=said):
        refreshed(run, *changes)
    assert not (run / "versions").exists()


def test_what_is_no_run_of_its_own_is_refused(run, tmp_path):
    with pytest.raises(RunFolderError, match="not the folder of a finished run"):
        refreshed(tmp_path / "nothing")
    with pytest.raises(InvalidRecipe, match="run's folder"):
        train(recipe(), continue_with=NEW, progress=False)
    version = refreshed(run, *QUICK).run
    with pytest.raises(Unsupported, match="versions of its own"):
        refreshed(version)
    shutil.copytree(version, tmp_path / "copy")
    with pytest.raises(InvalidRecipe, match="RUN/versions/NNNN"):
        train(tmp_path / "copy", resume=True, progress=False)
    (run / "stages").mkdir()
    with pytest.raises(Unsupported, match="stages"):
        refreshed(run)


@pytest.mark.parametrize(
    ("name", "form"), [("vae", Form.TENSOR), ("classifier", Form.LABEL), ("diffusion", Form.TENSOR)]
)
def test_other_families_are_refreshed_too(name, form, tmp_path):
    asked = worlds.recipe(name, form, tmp_path / "data", steps=4)
    whole = Path(asked["data"]["source"])
    if form is Form.LABEL:
        lines = whole.read_text().splitlines()
        new = whole.with_name("new.jsonl")
        whole.write_text("\n".join(lines[:200]))
        new.write_text("\n".join(lines[200:]))
        source, changes = str(new), ()
    else:
        # The digits that the first run did not take.
        source, changes = "catalog:digits", ("data.clean.limit=1500",)
        asked["data"]["clean"] = {"limit": 300}
    run = train(asked, run=tmp_path / "run", progress=False).run
    result = train(run, continue_with=source, changes=["train.steps=4", *changes], progress=False)
    assert [gate["gate"] for gate in result.gates["gates"]] == ["gain", "forgetting"]
    assert all(gate["interval"] for gate in result.gates["gates"])


def test_the_metric_can_be_chosen():
    check(recipe_of(base(), NEW, "0001", ["refresh.metric=likelihood"]))
