"""A small run on real lines, and new data for it: other lines, spelled backwards, so that it is another domain."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from miaobi.data import Prepared, prepare
from miaobi.recipe import Recipe
from miaobi.training import train
from miaobi.training.continual.chain import led
from miaobi.training.continual.mixing import open_refresh
from miaobi.training.continual.refreshing import recipe_of
from tests.support.worlds import write_lines

STEPS = 150
QUICK = ["train.steps=4", "refresh.forget=1", "train.evaluate_every=4"]
"""A refresh that learns next to nothing, and is let through as far as forgetting goes."""


@functools.cache
def data() -> Path:
    """A folder with ``old.jsonl`` and ``new.jsonl``."""
    folder = Path(tempfile.mkdtemp())
    texts = [json.loads(line)["text"] for line in write_lines(folder / "lines.jsonl", 900).read_text().splitlines()]
    write(folder / "old.jsonl", texts[:450])
    write(folder / "new.jsonl", [text[::-1] for text in texts[450:]])
    return folder


def write(path: Path, texts: Sequence[str]) -> Path:
    """One text a line."""
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return path


def read(path: Path) -> list[str]:
    """The inverse of `write`."""
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]


def recipe(**train_settings: Any) -> dict[str, Any]:
    """Trains the first model."""
    settings = {
        "steps": STEPS, "batch_size": 16, "learning_rate": 5e-3, "precision": "float32", "threads": 1, "ema": None,
        "evaluate_every": STEPS, "tracking": [],
    }  # fmt: skip
    return {
        "modality": {"name": "text", "max_length": 80},
        "data": {"source": str(data() / "old.jsonl"), "content": "text"},
        "model": {"family": "autoregressive", "size": "tiny"},
        "train": {**settings, **train_settings},
    }


@functools.cache
def base() -> Path:
    """A finished run, for reading alone."""
    return train(recipe(), run=Path(tempfile.mkdtemp()) / "run", progress=False).run


def copied(folder: Path) -> Path:
    """A run of one's own."""
    return Path(shutil.copytree(base(), folder / "run"))


def refreshed(run: Path, *changes: str, source: Path | None = None, **how: Any) -> Any:
    """The next version of ``run``."""
    new = str(source or data() / "new.jsonl")
    return train(run, continue_with=new, changes=changes, progress=False, **how)


def mixed(run: Path, source: Path, *changes: str, log: Any = None) -> Prepared:
    """What the second version would be trained on."""
    return open_refresh(led(recipe_of(run, str(source), "0001", changes), run / "versions" / "0002"), log)


def old() -> Prepared:
    """What the first model was trained on."""
    return prepare(Recipe.load(base()))
