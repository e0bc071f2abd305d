import json
import sys

import pytest

from miaobi.errors import MissingExtra
from miaobi.recipe import Recipe
from miaobi.training import tracking
from miaobi.training.run_folder import RunFolder
from miaobi.training.tracking import Tracker, Untracked, read_lines

RECIPE = Recipe.load({"modality": "image", "data": {"source": "x"}, "model": {"family": "vae"}})


def test_figures_become_lines(tmp_path):
    folder = RunFolder(tmp_path)
    tracker = Tracker(folder, [], RECIPE, 0)
    tracker.log(1, 0.5, {"train.loss": 2.0, "train.gradient_norm": float("inf")})
    tracker.evaluation(1, {"bits_per_byte": 3.0})
    tracker.notice(1, "look")
    tracker.close()
    assert read_lines(folder.metrics) == [
        {"step": 1, "time": 0.5, "train.loss": 2.0, "train.gradient_norm": None},
        {"step": 1, "evaluation": {"bits_per_byte": 3.0}},
        {"step": 1, "notice": "look"},
    ]


def test_going_on_drops_what_was_written_about_later_steps(tmp_path):
    folder = RunFolder(tmp_path)
    first = Tracker(folder, [], RECIPE, 0)
    for step in (1, 2, 3):
        first.log(step, 0.0, {"train.loss": float(step)})
    first.close()
    with folder.metrics.open("a") as stream:
        stream.write('{"step": 4, "tra')
    second = Tracker(folder, [], RECIPE, 2)
    second.log(3, 0.0, {"train.loss": 30.0})
    second.close()
    assert [line["train.loss"] for line in read_lines(folder.metrics)] == [1.0, 2.0, 30.0]
    assert all(json.loads(line) for line in folder.metrics.read_text().splitlines())


def test_tensorboard_gets_the_figures(tmp_path):
    folder = RunFolder(tmp_path)
    tracker = Tracker(folder, ["tensorboard"], RECIPE, 0)
    tracker.log(1, 0.0, {"train.loss": 2.0})
    tracker.evaluation(1, {"bits_per_byte": 3.0})
    tracker.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder.tensorboard))
    events.Reload()
    assert events.Scalars("train.loss")[0].value == 2.0
    assert events.Scalars("evaluation/bits_per_byte")[0].value == 3.0


def test_a_missing_tracker_is_an_error_before_the_run(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr(tracking.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"miaobi\[wandb\]"):
        tracking.require(["wandb"])


def test_other_processes_write_nothing(tmp_path):
    tracker = Untracked()
    tracker.log(1, 0.0, {"a": 1.0})
    tracker.notice(1, "b")
    tracker.close()
    assert list(tmp_path.iterdir()) == []
