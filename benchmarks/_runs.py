"""Runs that a benchmark trains by the command line and keeps, each in a folder of its settings."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from miaobi.models import info_of
from miaobi.recipe import shipped


def folder_of(work: Path, way: str, recipe: str, settings: Sequence[str]) -> Path:
    """Where a run of a shipped recipe and ``settings`` is kept; one of others is kept elsewhere."""
    said = json.dumps([recipe, Path(shipped()[recipe]).read_text(encoding="utf-8"), *settings])
    name = "".join(letter if letter.isalnum() else "-" for letter in way.lower())
    return work / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def scored(run: Path, recipe: str, settings: Sequence[str], metrics: Sequence[str], threads: str) -> dict[str, Any]:
    """What ``miaobi evaluate`` says of a run, trained if it is not there; scores that were made before are read.

    Args:
        run: of `folder_of`.
        recipe: a shipped one.
        settings: of ``--set``.
        metrics: of ``--metric``.
        threads: for everything.
    """
    kept = run.with_name(f"{run.name}.json")
    if kept.is_file():
        return json.loads(kept.read_text(encoding="utf-8"))  # type: ignore[no-any-return]
    # A run that is done would be delivered again by a process that trained nothing, and say its memory.
    if not (run / "model" / "model.json").is_file():
        changes = [f"--set={change}" for change in settings]
        _miaobi("train", recipe, "--run", str(run), "--resume", *changes, threads=threads)
    asked = [part for metric in metrics for part in ("--metric", metric)]
    found = _miaobi("evaluate", str(run), *asked, threads=threads)
    kept.write_text(json.dumps(found), encoding="utf-8")
    return found


def seconds_of(run: Path) -> float:
    """Of training, of all stages."""
    stages = sorted((run / "stages").glob("*")) or [run]
    return sum(float(info_of(stage)["seconds"]) for stage in stages)


def _miaobi(*arguments: str, threads: str) -> dict[str, Any]:
    print("miaobi", *arguments, file=sys.stderr, flush=True)
    environment = {**os.environ, "OMP_NUM_THREADS": threads}
    command = [sys.executable, "-m", "miaobi.cli", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    return json.loads(done.stdout)  # type: ignore[no-any-return]
