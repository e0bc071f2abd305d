"""Promotion: by gates alone, at once or not at all, and back."""

import json
import shutil
from pathlib import Path

import pytest

from miaobi import evaluate, generate, load, models, promote, training
from miaobi.errors import CorruptFile, HeldBack, InvalidRecipe, RunFolderError, SaveFailed
from miaobi.models.versions import in_use
from tests.support.refreshed import base, copied, refreshed

NAIVE = ["refresh.replay=0", "train.learning_rate=0.02", "refresh.forget=0.01", "train.steps=60"]


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A run with a version that passed its gates, for copying."""
    run = copied(tmp_path_factory.mktemp("grown"))
    result = refreshed(run, "train.steps=60", "refresh.forget=0.5")
    assert result.gates["passed"]
    return run


@pytest.fixture
def run(grown, tmp_path):
    return Path(shutil.copytree(grown, tmp_path / "run"))


def lineage(run):
    return json.loads((run / "lineage.json").read_text())


def test_what_takes_the_run_takes_the_promoted_model(run):
    before = [item.text for item in generate(run, n=2)]
    done = promote(run)
    assert (done.version, done.previous, done.model) == ("0002", "0001", run / "versions" / "0002" / "model")
    after = [item.text for item in generate(run, n=2)]
    assert after == [item.text for item in generate(run / "versions" / "0002", n=2)]
    assert after != before
    promote(run, rollback=True)
    assert [item.text for item in generate(run, n=2)] == before


def test_scores_of_the_run_are_kept_by_the_version_in_use(run):
    promote(run)
    model = load(run)
    page = training.record(run, evaluate(model, metrics=["likelihood"]), model.modality)
    assert page == run / "versions" / "0002" / "report.html"
    assert "<h2>Gates</h2>" in page.read_text()
    assert (run / "versions" / "0002" / "scores" / "scores.json").exists()


def test_a_model_that_forgot_is_held_back_with_its_figures(tmp_path):
    run = copied(tmp_path)
    result = refreshed(run, *NAIVE)
    assert [gate["passed"] for gate in result.gates["gates"]] == [True, False]
    before = (run / "lineage.json").read_bytes()
    with pytest.raises(HeldBack, match=r"forgetting on .*: not passed: \+\d"):
        promote(run)
    assert HeldBack.exit_status == 1
    assert (run / "lineage.json").read_bytes() == before
    assert in_use(run) == "0001"


def test_the_lineage_keeps_the_whole_chain(run):
    promote(run)
    promote(run, rollback=True)
    promote(run)
    kept = lineage(run)
    assert [(one["version"], one["how"]) for one in kept["promotions"]] == [
        ("0002", "promoted"),
        ("0001", "rolled back"),
        ("0002", "promoted"),
    ]
    assert all(one["at"] for one in kept["promotions"])
    entry = kept["versions"]["0002"]
    assert entry["parent"] == "0001"
    assert entry["data"]["fingerprint"] == models.info_of(run)["data"]["fingerprint"]
    assert {gate["gate"] for gate in entry["gates"]} == {"gain", "forgetting"}
    assert kept["data"]["fingerprint"] == lineage(base())["data"]["fingerprint"]


def test_a_rollback_goes_back_once(run):
    with pytest.raises(RunFolderError, match="no promotion to take back"):
        promote(run, rollback=True)
    promote(run)
    with pytest.raises(RunFolderError, match="this version is in use"):
        promote(run)
    promote(run, rollback=True)
    with pytest.raises(RunFolderError, match="taken back already"):
        promote(run, rollback=True)
    assert in_use(run) == "0001"
    assert promote(run).version == "0002"


def test_nothing_to_promote_is_said(tmp_path):
    with pytest.raises(RunFolderError, match="nothing to promote"):
        promote(copied(tmp_path))
    with pytest.raises(RunFolderError, match="not the folder of a finished run"):
        promote(tmp_path)


class Killed(BaseException):
    """As good as SIGKILL: nothing of ours catches it."""


def failing(monkeypatch, name, at, error, *, after):
    """``Path.NAME`` fails the ``at``-th time that it is called on a lineage, before or after it did its work."""
    real, calls = getattr(Path, name), []

    def method(self, *arguments, **options):
        calls.append(self)
        if len(calls) != at:
            return real(self, *arguments, **options)
        if after:
            real(self, *arguments, **options)
        raise error

    monkeypatch.setattr(Path, name, method)
    return calls


@pytest.mark.parametrize("rollback", [False, True])
@pytest.mark.parametrize("name", ["write_text", "replace"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_between_any_two_steps_the_old_or_the_new_model_is_in_use(run, name, after, rollback, monkeypatch):
    if rollback:
        promote(run)
    old, new = ("0002", "0001") if rollback else ("0001", "0002")
    with monkeypatch.context() as patch:
        calls = failing(patch, name, 1, Killed(), after=after)
        with pytest.raises(Killed):
            promote(run, rollback=rollback)
    assert len(calls) == 1
    assert in_use(run) == (new if after and name == "replace" else old)
    assert load(run).family
    # Whoever comes next goes on from there.
    if in_use(run) == old:
        assert promote(run, rollback=rollback).version == new


@pytest.mark.parametrize("name", ["write_text", "replace"])
def test_a_full_disk_changes_nothing(run, name, monkeypatch):
    before = (run / "lineage.json").read_bytes()
    with monkeypatch.context() as patch:
        failing(patch, name, 1, OSError("no space left"), after=False)
        with pytest.raises(SaveFailed):
            promote(run)
    assert (run / "lineage.json").read_bytes() == before
    assert promote(run).version == "0002"


def test_promoting_takes_one_file_put_in_place(run, monkeypatch):
    with monkeypatch.context() as patch:
        calls = failing(patch, "replace", 0, Killed(), after=False)
        promote(run)
    assert len(calls) == 1


def test_a_model_that_was_altered_or_not_measured_is_not_put_in_use(run):
    gates = run / "versions" / "0002" / "gates.json"
    told = json.loads(gates.read_text())
    gates.write_text(json.dumps(told | {"sha256": "another"}))
    with pytest.raises(CorruptFile, match="not the one that was measured"):
        promote(run)
    gates.write_text(json.dumps(told | {"parent_sha256": "another"}))
    with pytest.raises(CorruptFile, match=f"the model in {run} is not the one that was measured"):
        promote(run)
    gates.write_text(json.dumps({name: value for name, value in told.items() if name != "parent_sha256"}))
    with pytest.raises(RunFolderError, match="measure again"):
        promote(run)
    gates.write_text(json.dumps(told | {"parent": "0007"}))
    with pytest.raises(RunFolderError, match="not measured against the one in use"):
        promote(run)
    gates.write_text("{}")
    with pytest.raises(CorruptFile, match="measure again"):
        promote(run)
    gates.unlink()
    with pytest.raises(RunFolderError, match="not finished"):
        promote(run)
    gates.write_text(json.dumps(told))
    said = run / "model" / "model.json"
    whole = said.read_text()
    said.write_text("{")
    with pytest.raises(CorruptFile, match=r"model\.json cannot be read"):
        promote(run)
    said.write_text(whole)
    tensors = run / "versions" / "0002" / "model" / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1])
    with pytest.raises(CorruptFile, match="cut short"):
        promote(run)
    assert in_use(run) == "0001"


def test_an_older_version_that_passed_can_be_named(run):
    shutil.copytree(run / "versions" / "0002", run / "versions" / "0003")
    gates = run / "versions" / "0003" / "gates.json"
    gates.write_text(json.dumps(json.loads(gates.read_text()) | {"passed": False}))
    with pytest.raises(HeldBack, match="version 0003"):
        promote(run)
    assert promote(run, version="0002").version == "0002"
    for version in ("0004", "../0002"):
        with pytest.raises(InvalidRecipe, match="no such version"):
            promote(run, version=version)
    with pytest.raises(InvalidRecipe, match="takes no version"):
        promote(run, version="0002", rollback=True)
    with pytest.raises(RunFolderError, match="measured against nothing"):
        promote(run, version="0001")


@pytest.mark.parametrize("name", ["../../elsewhere", "2", "00002", 2, None])
def test_a_lineage_that_names_no_version_is_refused(run, name):
    (run / "lineage.json").write_text(json.dumps(lineage(run) | {"promotions": [{"version": name}]}))
    with pytest.raises(CorruptFile, match="names no version"):
        load(run)
