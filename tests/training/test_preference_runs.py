"""Preference runs start from a language model with its tokens, keep their reference, and ship a language model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import miaobi
from miaobi import models, training
from miaobi.errors import InvalidRecipe
from miaobi.families.autoregressive import Autoregressive
from miaobi.generation import generate
from miaobi.models import read_tensors
from miaobi.recipe import Recipe
from miaobi.training.assembly import Assembly
from miaobi.training.opening import open_data
from miaobi.training.processes import Processes
from miaobi.types import Form
from tests.support.killing import assert_identical, killed_and_resumed
from tests.support.worlds import recipe


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of 30 steps, whose tokenizer saw no line in capitals."""
    folder = tmp_path_factory.mktemp("base")
    settings = recipe("autoregressive", Form.TOKENS, folder / "data", steps=30)
    run: Path = training.train(settings | {"seed": 5}, run=folder / "run", progress=False).run
    return run


def preferring(name: str, base: Path, folder: Path, **train: Any) -> dict[str, Any]:
    settings = recipe(name, Form.TOKENS, folder, **{"steps": 12, "learning_rate": 1e-3, **train})
    return settings | {"model": settings["model"] | {"start": f"run:{base}"}}


def assembled(settings: dict[str, Any]) -> Assembly:
    loaded = Recipe.load(settings)
    return Assembly(loaded, open_data(loaded), Processes(alone=True))


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_a_run_starts_from_a_language_model_and_ends_as_one(name: str, base: Path, tmp_path: Path) -> None:
    settings = preferring(name, base, tmp_path / "data")
    run = training.train(settings, run=tmp_path / "run", progress=False).run
    before, after = models.load(base), models.load(run)
    assert type(after.family) is Autoregressive
    assert after.modality.tokenizer.size == before.modality.tokenizer.size  # type: ignore[union-attr]
    assert not list(after.family.parts_by_name)
    moved = [not torch.equal(a, b) for a, b in zip(before.family.parameters(), after.family.parameters(), strict=True)]
    assert any(moved)
    assert len(generate(after, n=2, seed=0)) == 2
    found = miaobi.evaluate(run, metrics=["preference", "likelihood"])
    assert found["preference_accuracy"].protocol["reward"] == "log-likelihood of a token"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "train.loss" in line]
    assert {"train.margin", "train.divergence"} <= steps[0].keys()
    assert steps[0]["train.divergence"] == pytest.approx(0, abs=1e-4)
    assert steps[-1]["train.divergence"] > 1e-3


def test_the_tokens_are_the_starts_and_the_reference_is_the_start(base: Path, tmp_path: Path) -> None:
    assembly = assembled(preferring("dpo", base, tmp_path / "data"))
    started = models.load(base)
    theirs = started.family.state_dict()
    reference = assembly.family.parts_by_name["reference"].state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in reference.items())
    ours = assembly.prepared.modality.tokenizer
    spelled = [tokens.token_bytes(index) for tokens in (ours, started.modality.tokenizer) for index in range(40)]  # type: ignore[union-attr]
    assert spelled[:40] == spelled[40:]
    batch = assembly.loader.batch(0)
    loss = assembly.family(batch, "train", batch.ids)
    assert torch.equal(loss.total.detach(), len(batch) * torch.tensor(2.0).log())
    assembly.close()


def test_the_reference_of_a_named_run_is_copied_in_and_used_to_evaluate(base: Path, tmp_path: Path) -> None:
    settings = preferring("dpo", base, tmp_path / "data")
    settings["model"]["parts"] = {"reference": f"run:{base}"}
    run = training.train(settings, run=tmp_path / "run", progress=False).run
    assert list(models.load(run).family.parts_by_name) == ["reference"]
    found = miaobi.evaluate(run, metrics=["preference"])["preference_accuracy"]
    assert found.protocol["reward"] == "log-likelihood above the part reference's"


def test_checkpoints_have_the_policy_alone_and_a_killed_run_ends_the_same(base: Path, tmp_path: Path) -> None:
    cadence = {"steps": 16, "evaluate_every": 5, "checkpoint_every": 3, "sample_every": 100}
    settings = preferring("dpo", base, tmp_path / "data", **cadence)
    training.train(settings, run=tmp_path / "whole", progress=False)
    killed_and_resumed(settings, tmp_path / "killed", 7)
    assert_identical(tmp_path / "whole", tmp_path / "killed")
    saved = read_tensors(max((tmp_path / "whole" / "checkpoints").glob("step-*")) / "weights.safetensors")
    assert saved.keys() == models.tensors_of(models.load(base).family).keys()


def test_a_start_that_changed_is_told_when_a_run_goes_on(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    copied = tmp_path / "base"
    shutil.copytree(base / "model", copied)
    settings = preferring("dpo", copied, tmp_path / "data")
    training.train(settings, run=tmp_path / "run", progress=False)
    model = models.load(copied)
    with torch.no_grad():
        next(model.family.parameters()).add_(1.0)
    models.save(model, copied)
    training.train(settings, run=tmp_path / "run", resume=True)
    assert "part reference" in capsys.readouterr().err


def test_data_that_does_not_say_what_is_preferred_is_refused_before_any_work(tmp_path: Path) -> None:
    settings = recipe("dpo", Form.TOKENS, tmp_path / "data")
    del settings["data"]["extra"]
    with pytest.raises(InvalidRecipe, match="needs 'rejected' of every item"):
        training.train(settings, run=tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "checkpoints").exists()
    staged = settings | {"stages": {"only": {}}}
    with pytest.raises(InvalidRecipe, match="needs 'rejected' of every item"):
        training.train(staged, run=tmp_path / "staged", progress=False)


def test_a_start_of_another_modality_is_refused(tmp_path: Path) -> None:
    pictures = recipe("vae", Form.TENSOR, tmp_path / "data", steps=2, evaluate_every=1)
    run = training.train(pictures, run=tmp_path / "pictures", progress=False).run
    with pytest.raises(InvalidRecipe, match="another modality"):
        open_data(Recipe.load(preferring("dpo", run, tmp_path / "lines")))


def test_extras_that_a_family_does_not_use_are_told(tmp_path: Path) -> None:
    settings = recipe("autoregressive", Form.TOKENS, tmp_path / "data")
    settings["data"]["extra"] = {"rejected": "shouted"}
    assembly = assembled(settings)
    assert any("does not train on rejected" in line for line in assembly.started)
    assembly.close()
