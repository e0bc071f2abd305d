"""Every family: killed with SIGKILL at a random step and resumed, the run ends bit-identical to one left alone."""

import random

import pytest

from miaobi import families, training
from miaobi.families import Counting
from tests.support.killing import assert_identical, killed_and_resumed
from tests.support.worlds import cases, recipe

STEPS = 24


@pytest.mark.parametrize(("name", "form"), [pytest.param(*case, id=f"{case[0]}: {case[1]}") for case in cases()])
def test_killed_at_a_random_step_and_resumed_is_the_same_run(name, form, tmp_path):
    if issubclass(families.find(name), Counting):
        pytest.skip("one pass of counting starts again when it is killed")
    cadence = {"evaluate_every": 9, "checkpoint_every": 7, "sample_every": 100}
    chosen = recipe(name, form, tmp_path / "data", steps=STEPS, ema=0.9, **cadence)
    step = random.SystemRandom().randint(0, STEPS - 4)
    print(f"killed at step {step}")
    training.train(chosen, run=tmp_path / "whole", progress=False)
    killed_and_resumed(chosen, tmp_path / "killed", step)
    assert_identical(tmp_path / "whole", tmp_path / "killed")
