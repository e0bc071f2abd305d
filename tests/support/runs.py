"""Small runs, and runs that are stopped in the midst and resumed in the same process."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from miaobi import training

SMALL = {
    "steps": 6,
    "batch_size": 6,
    "learning_rate": 1e-2,
    "evaluate_every": 3,
    "checkpoint_every": 2,
    "sample_every": 100,
    "threads": 1,
    "precision": "float32",
    "ema": None,
    "tracking": [],
}
"""A ``train`` section whose run takes a second and is checkpointed before and evaluated in its midst."""


class Stopped(Exception):
    """Raised in the midst of a run."""


def interrupted_and_resumed(recipe: Mapping[str, Any], run: Path) -> None:
    """Train up to the first evaluation, which fails, and resume from the checkpoint before it."""

    def stop(look: training.Look) -> str:
        raise Stopped

    with pytest.raises(Stopped):
        training.train(recipe, run=run, progress=False, watch=stop)
    training.train(recipe, run=run, resume=True, progress=False)
