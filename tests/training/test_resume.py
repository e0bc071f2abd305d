"""A run killed with SIGKILL and resumed ends bit-identical to one that was left alone."""

import random

import pytest

from miaobi.training import train
from miaobi.types import Form
from tests.support.killing import assert_identical, finished_apart, killed, killed_and_resumed
from tests.support.worlds import recipe

STEPS = 24
CASES = [
    pytest.param("vae", Form.TENSOR, {"ema": 0.9, "accumulate": 2}, id="vae: average, accumulation"),
    pytest.param("gan", Form.TENSOR, {"ema": 0.9, "optimiser": {"name": "adam"}}, id="gan: two phases"),
    pytest.param("ngram", Form.TOKENS, {}, id="ngram: counting"),
    pytest.param("autoregressive", Form.TOKENS, {"optimiser": {"name": "muon"}}, id="autoregressive: muon"),
]


def small(name, form, folder, **train_settings):
    settings = {"steps": STEPS, "evaluate_every": 9, "checkpoint_every": 7, "sample_every": 100, **train_settings}
    found = recipe(name, form, folder, **settings)
    if form is Form.TENSOR:
        found["data"] |= {"augment": {"crop": 1}, "condition": {"label": "label"}}
    else:
        found["data"] |= {"condition": {"kind": "label"}}
    return found


@pytest.mark.parametrize(("name", "form", "settings"), CASES)
def test_killed_at_a_random_step_and_resumed_is_the_same_run(name, form, settings, tmp_path):
    step = -1 if name == "ngram" else random.SystemRandom().randint(0, STEPS - 4)
    print(f"killed at step {step}")
    chosen = small(name, form, tmp_path / "data", **settings)
    train(chosen, run=tmp_path / "whole", progress=False)
    killed_and_resumed(chosen, tmp_path / "killed", step)
    assert_identical(tmp_path / "whole", tmp_path / "killed")


def test_killed_twice_is_still_the_same_run(tmp_path):
    chosen = small("vae", Form.TENSOR, tmp_path / "data", ema=0.99)
    train(chosen, run=tmp_path / "whole", progress=False)
    killed(chosen, tmp_path / "killed", 8)
    killed(chosen, tmp_path / "killed", 17)
    train(chosen, run=tmp_path / "killed", resume=True, progress=False)
    assert_identical(tmp_path / "whole", tmp_path / "killed")


@pytest.mark.slow
def test_a_compiled_run_resumes_as_itself(tmp_path):
    chosen = small("vae", Form.TENSOR, tmp_path / "data", compile="on")
    train(chosen, run=tmp_path / "whole", progress=False)
    killed(chosen, tmp_path / "killed", 8)
    finished_apart(chosen, tmp_path / "killed")
    assert_identical(tmp_path / "whole", tmp_path / "killed")
