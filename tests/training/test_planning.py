import json

import pytest
import torch

from miaobi import models, training
from miaobi.data import Loader, prepare
from miaobi.errors import InvalidRecipe, UnknownName
from miaobi.recipe import Recipe
from miaobi.training import planning
from miaobi.training.assembly import Assembly
from miaobi.training.planning import plan
from miaobi.training.processes import Processes
from miaobi.training.rehearsal import thread_counts
from tests.support.killing import finished_apart, killed
from tests.training.test_trainer import RECIPE, STEPS, with_train


def estimated(**train):
    return training.estimate(with_train(**train))


def test_the_estimate_counts_parameters_and_steps():
    found = estimated(freeze=["encoder.*"])
    recipe = Recipe.load(RECIPE)
    data = prepare(recipe)
    family = models.build(recipe, data.target, data.specs)
    assert found.parameters == sum(parameter.numel() for parameter in family.parameters())
    assert found.trained == sum(parameter.numel() for parameter in family.decoder.parameters())
    assert (found.steps, found.looks, found.precision, found.threads, found.compiled) == (STEPS, 3, "float32", 1, False)
    assert found.seconds == pytest.approx(STEPS * found.seconds_per_step + 3 * found.seconds_per_look)
    assert f"{STEPS} steps" in str(found)
    assert "float32, 1 thread)" in str(found)


def test_epochs_and_minutes_become_steps():
    data = prepare(Recipe.load(RECIPE))
    assert estimated(steps=None, epochs=2.5).steps == -(-5 * len(data.train) // (2 * 8))
    short, long = (estimated(steps=None, minutes=minutes).steps for minutes in (0.05, 0.5))
    assert 1 <= short < long


def test_a_rehearsal_leaves_no_trace():
    recipe = Recipe.load(RECIPE)
    data = prepare(recipe)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    before = models.build(recipe, data.target, data.specs).state_dict()
    resolved, _ = plan(recipe, data, Processes())
    after = models.build(resolved, data.target, data.specs).state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert torch.get_num_threads() == threads


def test_slow_evaluations_are_made_seldom(monkeypatch):
    monkeypatch.setattr(planning, "_seconds_of_a_look", lambda assembly: 1e6)
    assert estimated(evaluate_every=None, steps=500).looks == 2
    monkeypatch.setattr(planning, "_seconds_of_a_look", lambda assembly: 0.0)
    assert estimated(evaluate_every=None, steps=500).looks == 20


@pytest.mark.parametrize(
    ("section", "error", "match"),
    [
        ({"evaluate": {"metrics": ["kernel_distanc"]}}, UnknownName, "kernel_distance"),
        ({"evaluate": {"options": {"kernel_distanc": {}}}}, UnknownName, "kernel_distance"),
        ({"evaluate": {"options": {"diversity": {"samples": 5}}}}, InvalidRecipe, "self_bleu_samples"),
        ({"evaluate": {"extractor": "pixel"}, "model": {"family": "gan"}}, UnknownName, "pixels"),
        ({"train": {"compile": "on"}, "model": {"family": "gan"}}, InvalidRecipe, "differentiates a gradient"),
    ],
)
def test_what_cannot_work_is_refused_before_any_work(tmp_path, section, error, match):
    with pytest.raises(error, match=match):
        training.train({**RECIPE, **section}, run=tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_the_memory_estimate_is_what_the_run_needs(tmp_path):
    """Within a tenth, for a model that is large beside the interpreter; a resumed run has no rehearsal to hide in."""
    recipe = with_train(steps=4, evaluate_every=4)
    recipe["model"] = RECIPE["model"] | {"network": {"name": "mlp", "hidden": [1024, 1024, 1024]}}
    killed(recipe, tmp_path / "run", 1)
    estimate = json.loads((tmp_path / "run" / "lineage.json").read_text())["estimate"]
    finished_apart(recipe, tmp_path / "run")
    needed = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["info"]["memory"]
    assert estimate["memory"] == pytest.approx(needed, rel=0.1)


def test_the_heaviest_batches_of_all_that_the_run_takes_are_rehearsed(monkeypatch):
    asked, stepped = [], []

    def heaviest(self, count):
        asked.append(count)
        return [7, 9]

    def turn(self, phase, batch, step, repeat, scale):
        stepped.append(batch.ids.tolist())
        return real(self, phase, batch, step, repeat, scale)

    real = Assembly.turn
    monkeypatch.setattr(Loader, "heaviest", heaviest)
    monkeypatch.setattr(Assembly, "turn", turn)
    estimated()
    assert asked == [STEPS]
    recipe = Recipe.load(RECIPE)
    data = prepare(recipe)
    with Loader(data.train, recipe.train.batch_size, recipe.seed) as loader:
        assert stepped[-2:] == [loader.batch(index).ids.tolist() for index in (7, 9)]


def test_thread_counts_double_up_to_the_most():
    assert [thread_counts(most) for most in (1, 2, 6, 8)] == [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]]
