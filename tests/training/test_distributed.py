"""Two processes on one machine train the same model as one."""

import json
import subprocess
import sys

import pytest
import torch

from miaobi.training import train
from miaobi.training.checkpoint import Checkpoints
from miaobi.training.tracking import read_lines
from tests.conftest import ROOT
from tests.training.test_trainer import RECIPE, with_train

SCRIPT = """
import json, sys, warnings
warnings.simplefilter("ignore")
from miaobi.training import train
for name, recipe in json.loads(sys.argv[1]).items():
    train(recipe, run=f"{sys.argv[2]}/two-{name}", progress=False)
"""


def test_two_processes_train_as_one(tmp_path):
    # Adam would blow up the rounding of gradients that are zero, such as a relativistic discriminator's last bias.
    settings = with_train(steps=6, evaluate_every=3, accumulate=2, optimiser={"name": "sgd"})
    recipes = {
        "vae": settings,
        "gan": {**settings, "model": {**RECIPE["model"], "family": "gan"}, "evaluate": {"extractor": "pixels"}},
    }
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [*launch, str(script), json.dumps(recipes), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name, recipe in recipes.items():
        train(recipe, run=tmp_path / f"one-{name}", progress=False)
        one, two = (Checkpoints(tmp_path / f"{count}-{name}" / "checkpoints").latest() for count in ("one", "two"))
        assert two.state["surroundings"]["processes"] == 2
        for key, value in one.weights.items():
            torch.testing.assert_close(two.weights[key], value, rtol=1e-3, atol=1e-5)
        losses = [losses_of(tmp_path / f"{count}-{name}" / "metrics.jsonl") for count in ("one", "two")]
        assert losses[1] == pytest.approx(losses[0], rel=1e-4, abs=1e-5)


def losses_of(path):
    return {f"{line['step']}: {key}": line[key] for line in read_lines(path) for key in line if "loss" in key}
