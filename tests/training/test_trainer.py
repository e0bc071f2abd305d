import json
import math
import os
import signal

import pytest
import torch
import yaml

from miaobi import models
from miaobi.errors import Diverged, RunFolderError
from miaobi.evaluation import Direction
from miaobi.training import evaluating, samples, train
from miaobi.training.assembly import Assembly
from miaobi.training.checkpoint import Checkpoints
from miaobi.training.run_folder import RunFolder
from miaobi.training.tracking import read_lines
from tests.support.killing import assert_identical
from tests.support.worlds import write_lines

STEPS = 12
RECIPE = {
    "modality": "image",
    "data": {
        "source": "catalog:digits",
        "condition": {"label": "label"},
        "clean": {"limit": 200, "duplicates": "exact"},
    },
    "model": {"family": "vae", "size": "tiny", "network": {"name": "mlp"}, "options": {"latent": 4}},
    "train": {
        "steps": STEPS,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "precision": "float32",
        "threads": 1,
        "evaluate_every": 4,
        "tracking": [],
    },
}


def with_train(**settings):
    return {**RECIPE, "train": {**RECIPE["train"], **settings}}


def run(folder, resume=False, progress=False, **settings):
    return train(with_train(**settings), run=folder, resume=resume, progress=progress)


def notices(folder):
    return [line["notice"] for line in read_lines(RunFolder(folder).metrics) if "notice" in line]


def shipped(folder):
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture
def at_step(monkeypatch):
    """Call something before a step of the run (never of its rehearsal) is taken."""

    def install(action):
        take = Assembly.step

        def step(self, state, steps):
            action(self, state)
            return take(self, state, steps)

        monkeypatch.setattr(Assembly, "step", step)

    return install


def test_a_run_leaves_what_it_promises(tmp_path):
    tmp_path = tmp_path / "run"
    result = run(tmp_path)
    assert (result.run, result.steps, result.stopped, result.model) == (tmp_path, STEPS, None, tmp_path / "model")
    names = {"recipe.yaml", "model", "checkpoints", "metrics.jsonl", "samples", "report.html", "lineage.json"}
    assert {path.name for path in tmp_path.iterdir()} == names
    lines = read_lines(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines if "evaluation" not in line] == list(range(1, STEPS + 1))
    values = {line["step"]: line["evaluation"]["bits_per_dimension"] for line in lines if "evaluation" in line}
    assert set(values) == {4, 8, 12}
    best = min(values, key=values.get)
    assert result.best == {"metric": "bits_per_dimension", "value": values[best], "step": best}
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "exponential moving average" in card
    assert "catalog:digits" in card
    assert "CC-BY-4.0" in card
    lineage = json.loads((tmp_path / "lineage.json").read_text())
    assert lineage["data"]["items"]["train"] > 0
    assert lineage["result"]["steps"] == STEPS
    page = (tmp_path / "report.html").read_text()
    assert "<svg" in page
    assert "data:image/png" in page
    assert "http" not in page
    assert models.load(tmp_path).info["weights"] == "average"


def test_a_used_folder_is_refused_and_a_finished_run_resumes_to_itself(tmp_path):
    first = run(tmp_path)
    before = shipped(tmp_path)
    with pytest.raises(RunFolderError, match="--resume"):
        run(tmp_path)
    assert run(tmp_path, resume=True) == first
    assert shipped(tmp_path) == before


def test_resuming_with_nothing_saved_starts_afresh(tmp_path):
    assert run(tmp_path / "new", resume=True).steps == STEPS


def test_ctrl_c_saves_says_how_to_resume_and_loses_nothing(tmp_path, at_step, capsys):
    run(tmp_path / "whole")

    def interrupt(assembly, state):
        if state.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    at_step(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", progress=True)
    assert f"miaobi train {tmp_path / 'cut'} --resume" in capsys.readouterr().err
    assert Checkpoints(tmp_path / "cut" / "checkpoints").steps()[-1] == 6
    train(tmp_path / "cut", resume=True, progress=False)
    assert_identical(tmp_path / "whole", tmp_path / "cut")


def test_looking_more_often_does_not_disturb_training(tmp_path):
    run(tmp_path / "seldom", evaluate_every=STEPS, sample_every=STEPS)
    run(tmp_path / "often", evaluate_every=1, sample_every=1, checkpoint_every=STEPS)
    left, right = (Checkpoints(tmp_path / name / "checkpoints").load(STEPS) for name in ("seldom", "often"))
    for one, other in ((left.weights, right.weights), (left.average, right.average), (left.optimiser, right.optimiser)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_callers_generator_and_threads_are_left_alone(tmp_path):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    run(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def poison(assembly):
    with torch.no_grad():
        next(assembly.family.parameters()).fill_(math.nan)


def test_nan_goes_back_to_the_last_good_checkpoint_at_half_the_rate(tmp_path, at_step):
    seen = []

    def once(assembly, state):
        seen.append(state.step)
        if state.step == 6 and seen.count(6) == 1:
            poison(assembly)

    at_step(once)
    assert run(tmp_path).steps == STEPS
    assert seen == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6, 7, 8, 9, 10, 11]
    assert notices(tmp_path) == ["step 7: NaN or infinity in phase vae; back to step 4 at 0.5 times the learning rate"]
    state = Checkpoints(tmp_path / "checkpoints").latest().state
    assert (state["run"]["guards"]["rollbacks"], state["run"]["guards"]["rate"]) == (1, 0.5)
    assert all(torch.isfinite(value).all() for value in models.load(tmp_path).family.state_dict().values())


def test_nan_that_comes_back_ends_the_run_and_keeps_the_last_good_checkpoint(tmp_path, at_step):
    at_step(lambda assembly, state: poison(assembly) if state.step == 6 else None)
    with pytest.raises(Diverged, match=r"after going back 3 times.*learning_rate"):
        run(tmp_path)
    saved = Checkpoints(tmp_path / "checkpoints").latest()
    assert saved.state["run"]["step"] == 4
    assert all(torch.isfinite(value).all() for value in saved.weights.values())


def scores(monkeypatch, values):
    left = iter([0.0, *values])  # the rehearsal looks once
    monkeypatch.setattr(evaluating, "held_out", lambda *_, **__: ("figure", next(left), Direction.LOWER))


def test_the_best_weights_are_shipped(tmp_path, monkeypatch):
    scores(monkeypatch, [3.0, 1.0, 2.0])
    result = run(tmp_path, ema=None)
    assert result.best == {"metric": "figure", "value": 1.0, "step": 8}
    best = Checkpoints(tmp_path / "checkpoints").load(8)
    model = models.load(tmp_path)
    assert all(torch.equal(value, best.weights[key]) for key, value in model.family.state_dict().items())
    assert (model.info["step"], model.info["weights"]) == (8, "raw")


def test_averaged_weights_are_shipped_where_there_are_any(tmp_path):
    run(tmp_path, ema=0.9)
    last = Checkpoints(tmp_path / "checkpoints").latest()
    state = models.load(tmp_path).family.state_dict()
    assert all(torch.equal(state[key], value) for key, value in last.average.items())
    assert any(not torch.equal(state[key], last.weights[key]) for key in last.average)


def test_early_stopping_waits_for_its_patience(tmp_path, monkeypatch):
    scores(monkeypatch, [3.0, 2.0, 2.5, 1.99, 1.0])
    result = run(tmp_path, evaluate_every=2, early_stopping={"patience": 2, "min_delta": 0.1})
    assert (result.steps, result.best["step"]) == (8, 4)
    assert "has not improved for 2 evaluations" in result.stopped
    assert run(tmp_path, resume=True, evaluate_every=2, early_stopping={"patience": 2, "min_delta": 0.1}) == result


def test_a_figure_that_is_not_a_number_is_never_the_best(tmp_path, monkeypatch):
    scores(monkeypatch, [math.nan, 5.0, math.nan])
    assert run(tmp_path).best["step"] == 8


def test_collapse_ends_the_run_and_keeps_the_best(tmp_path, monkeypatch):
    scores(monkeypatch, [5.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    shares = iter([1.0, 0.9, 0.01, 0.02, 0.03])  # the rehearsal looks once
    monkeypatch.setattr(samples, "diversity", lambda assembly: next(shares))
    result = run(tmp_path, evaluate_every=2)
    assert (result.steps, result.best["step"]) == (8, 2)
    assert "collapsed in 3 evaluations" in result.stopped
    assert "samples have collapsed: their diversity is 1.0% of the data's" in notices(tmp_path)[0]
    assert "of step 2, is kept" in notices(tmp_path)[0]


def test_a_damaged_checkpoint_costs_steps_and_nothing_else(tmp_path, at_step):
    run(tmp_path / "whole")
    stop = {"at": 9}

    def interrupt(assembly, state):
        if state.step == stop["at"]:
            os.kill(os.getpid(), signal.SIGTERM)

    at_step(interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut")
    stop["at"] = None
    weights = tmp_path / "cut" / "checkpoints" / "step-00000010" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-7])
    with pytest.warns(UserWarning, match="cut short"):
        run(tmp_path / "cut", resume=True)
    assert_identical(tmp_path / "whole", tmp_path / "cut")


def test_a_changed_recipe_is_refused_and_another_thread_count_is_told(tmp_path, capsys):
    run(tmp_path)
    with pytest.raises(RunFolderError, match=r"train.learning_rate: 0.002 -> 0.1"):
        run(tmp_path, resume=True, learning_rate=0.1)
    run(tmp_path, resume=True, progress=True, threads=2)
    assert "threads 1 -> 2" in capsys.readouterr().err


def test_measured_choices_are_fixed_in_the_run(tmp_path):
    open_choices = {"threads": None, "evaluate_every": None, "precision": "auto", "compile": "auto"}
    run(tmp_path, steps=None, epochs=0.5, **open_choices)
    train_section = yaml.safe_load((tmp_path / "recipe.yaml").read_text())["train"]
    assert train_section["steps"] > 1
    assert train_section["precision"] in ("float32", "bfloat16")
    assert train_section["threads"] >= 1
    assert train_section["evaluate_every"] >= 1
    assert not {"epochs", "minutes"} & train_section.keys()
    replayed = train(tmp_path / "recipe.yaml", run=tmp_path / "again", progress=False)
    assert replayed.steps == train_section["steps"]


def test_a_time_budget_becomes_steps_once(tmp_path):
    result = run(tmp_path, steps=None, minutes=0.02)
    assert result.steps == yaml.safe_load((tmp_path / "recipe.yaml").read_text())["train"]["steps"]
    assert run(tmp_path, resume=True, steps=None, minutes=0.02) == result


def test_nothing_held_out_ships_the_last_weights(tmp_path):
    split = {**RECIPE["data"], "split": {"validation": 0, "test": 0}}
    result = train({**with_train(), "data": split}, run=tmp_path, progress=False)
    assert result.best is None
    assert models.load(tmp_path).info["step"] == STEPS


def test_live_samples_take_controls_of_text_that_a_glance_has_room_for(tmp_path):
    """Sampling comes before the first evaluation, and a glance is shorter than what a constraint may ask for."""
    recipe = {
        "modality": {"name": "text", "max_length": 300},
        "data": {"source": str(write_lines(tmp_path / "lines.jsonl", 120)), "content": "text"},
        "model": {"family": "autoregressive", "size": "tiny", "network": {"name": "lstm"}},
        "train": {"steps": 4, "batch_size": 8, "precision": "float32", "threads": 1, "tracking": [], "sample_every": 2},
        "evaluate": {"metrics": ["likelihood"], "control": {"stop": ["e"], "temperature": 0.5}},
    }
    made = train(recipe, run=tmp_path / "stopped", progress=False)
    assert list((made.run / "samples").glob("*.txt"))
    long = {**recipe, "evaluate": {"metrics": ["likelihood"], "control": {"regex": "[a-z ]{200}", "best_of": 2}}}
    assert train(long, run=tmp_path / "long", progress=False).steps == 4


def test_grouping_what_is_equally_long_is_told_to_have_no_effect(tmp_path):
    (tmp_path / "long.txt").write_text("to be or not to be\n" * 400, encoding="utf-8")
    recipe = {
        "modality": {"name": "text", "max_length": 16},
        "data": {"source": str(tmp_path / "long.txt")},
        "model": {"family": "autoregressive", "size": "tiny", "network": {"name": "gru"}},
        "train": {"steps": 2, "batch_size": 8, "precision": "float32", "threads": 1, "tracking": []},
    }
    for grouped in (True, False):
        recipe["train"]["group_by_length"] = grouped
        made = train(recipe, run=tmp_path / str(grouped), progress=False)
        assert any("group_by_length has no effect" in one for one in notices(made.run)) is grouped


def test_samples_of_a_text_without_line_ends_start_from_held_out_text(tmp_path):
    (tmp_path / "long.txt").write_text("to be or not to be, " * 400, encoding="utf-8")
    recipe = {
        "modality": "text",
        "data": {"source": str(tmp_path / "long.txt")},
        "model": {"family": "autoregressive", "size": "tiny", "network": {"name": "gru"}},
        "train": {"steps": 2, "batch_size": 8, "precision": "float32", "threads": 1, "tracking": []},
    }
    made = train(recipe, run=tmp_path / "run", progress=False)
    assert all(path.read_text(encoding="utf-8") for path in (made.run / "samples").glob("*.txt"))


def test_somebody_who_watches_is_told_of_every_evaluation_and_can_end_the_run(tmp_path):
    told = []

    def watch(look):
        told.append(look)
        return "enough" if look.step == 8 else None

    result = train(with_train(), run=tmp_path, watch=watch, progress=False)
    assert [(look.step, look.steps, look.figure, look.lower) for look in told] == [
        (4, STEPS, "bits_per_dimension", True),
        (8, STEPS, "bits_per_dimension", True),
    ]
    assert [look.value for look in told] == [
        line["evaluation"]["bits_per_dimension"]
        for line in read_lines(RunFolder(tmp_path).metrics)
        if "evaluation" in line
    ]
    assert (result.steps, result.stopped) == (8, "enough")
    assert result.model.is_dir()
    again = train(with_train(), run=tmp_path, resume=True, watch=told.append, progress=False)
    assert (again.steps, again.stopped, len(told)) == (8, "enough", 2), "it stays ended"
