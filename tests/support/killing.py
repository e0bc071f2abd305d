"""Runs that are killed with SIGKILL, resumed, and compared bit for bit with runs that were not.

For the contract over all families: ``killed_and_resumed(recipe, folder, step)`` and ``assert_identical(left, right)``.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miaobi.training import Result, train
from miaobi.training.checkpoint import Checkpoints
from miaobi.training.run_folder import RunFolder
from miaobi.training.tracking import read_lines

# A server that has imported torch forks a fresh process in milliseconds.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["miaobi.training", "miaobi.families.gan"])
_DEADLINE = 120.0


def killed_and_resumed(recipe: Mapping[str, Any], run: Path, step: int) -> Result:
    """Train in another process, SIGKILL it once ``step`` steps are done, and resume here."""
    killed(recipe, run, step)
    return train(recipe, run=run, resume=True, progress=False)


def killed(recipe: Mapping[str, Any], run: Path, step: int) -> None:
    """Train in another process and SIGKILL it once ``step`` steps are done, wherever it happens to be then."""
    process = _PROCESSES.Process(target=_train, args=(dict(recipe), str(run)))
    process.start()
    began = time.monotonic()
    while process.is_alive() and _done(run) < step:
        assert time.monotonic() - began < _DEADLINE, "the run did not get to the step at which it should be killed"
        time.sleep(0.002)
    if process.is_alive() and process.pid is not None:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL, f"the run ended by itself, with {process.exitcode}"


def finished_apart(recipe: Mapping[str, Any], run: Path) -> None:
    """Train or resume in another process, to the end."""
    process = _PROCESSES.Process(target=_train, args=(dict(recipe), str(run)))
    process.start()
    process.join(_DEADLINE)
    assert process.exitcode == 0


def assert_identical(left: Path, right: Path) -> None:
    """Weights, averages, optimiser state and what is shipped are equal bit for bit; so is where the runs stand."""
    ours, theirs = (Checkpoints(RunFolder(run).checkpoints) for run in (left, right))
    assert ours.steps()[-1] == theirs.steps()[-1]
    step = ours.steps()[-1]
    for name in ("weights", "average", "optimiser"):
        files = [found.path(step) / f"{name}.safetensors" for found in (ours, theirs)]
        assert files[0].read_bytes() == files[1].read_bytes(), f"{name} differ"
    states = [json.loads((found.path(step) / "state.json").read_text())["run"] for found in (ours, theirs)]
    for state in states:
        del state["seconds"]
    assert states[0] == states[1]
    shipped = [RunFolder(run).model / "model.safetensors" for run in (left, right)]
    assert shipped[0].read_bytes() == shipped[1].read_bytes()
    assert _figures(left) == _figures(right)


def _train(recipe: dict[str, Any], run: str) -> None:
    train(recipe, run=run, resume=True, progress=False)


def _done(run: Path) -> int:
    return max((line["step"] for line in read_lines(RunFolder(run).metrics)), default=-1)


def _figures(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k != "time"} for line in read_lines(RunFolder(run).metrics)]
