"""A run's folder: what is where, whose it is, and whether a run may go on in it."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import miaobi
from miaobi.errors import CorruptFile, RunFolderError, SaveFailed
from miaobi.recipe import Recipe

FORMAT = 1
"""Version of the folder's layout; a newer one is refused."""
STAGES = "stages"
"""The folder of a run that holds the runs of its stages."""
CHANGEABLE = (
    "train.evaluate_every",
    "train.checkpoint_every",
    "train.sample_every",
    "train.tracking",
    "train.threads",
    "evaluate.metrics",
    "evaluate.options",
    "tune",
    "note",
    "expected",
)
"""What may differ when a run is resumed: none of it changes what a step computes."""

_ABSENT = object()


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run are."""

    root: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe: replayable, with every measured choice fixed."""
        return self.root / "recipe.yaml"

    @property
    def lineage(self) -> Path:
        """The recipe as asked for, the data's fingerprint, versions and dates."""
        return self.root / "lineage.json"

    @property
    def model(self) -> Path:
        """What is shipped."""
        return self.root / "model"

    @property
    def checkpoints(self) -> Path:
        """What a resumed run goes on from."""
        return self.root / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.root / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """Live samples."""
        return self.root / "samples"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.root / "tensorboard"

    @property
    def scores(self) -> Path:
        """What was measured of the model."""
        return self.root / "scores"

    @property
    def gates(self) -> Path:
        """Of a refresh: what was measured before and after it."""
        return self.root / "gates.json"

    @property
    def report(self) -> Path:
        """The page that shows the run."""
        return self.root / "report.html"

    @property
    def used(self) -> bool:
        """Whether a run has already begun here."""
        places = (self.recipe, self.lineage, self.checkpoints, self.model, self.root / STAGES)
        return any(path.exists() for path in places)

    def claim(self, recipe: Recipe, *, resume: bool) -> Recipe | None:
        """Check that ``recipe`` may run here; the resolved recipe of the run that it resumes, if any.

        Raises:
            RunFolderError: used and not to be resumed, newer than this version, or of a changed recipe.
        """
        if not self.used:
            return None
        if not resume:
            raise RunFolderError(
                "the run folder is already used",
                given=str(self.root),
                cure="add --resume to go on, or choose another folder with --run",
            )
        if not (self.lineage.exists() and self.recipe.exists()):
            return None
        self._refuse_newer()
        resolved = Recipe.load(self.recipe)
        requested = Recipe.load(_read(self.lineage)["requested"])
        changes = min((differences(old, recipe) for old in (requested, resolved)), key=len)
        if changes:
            raise RunFolderError(
                "the recipe differs from the one that this run began with",
                given="; ".join(changes),
                allowed=f"other values of {', '.join(CHANGEABLE)} only",
                cure="resume with the same recipe, or start another run with --run",
            )
        return with_changes(resolved, recipe)

    def begin(self, requested: Recipe, resolved: Recipe, facts: Mapping[str, Any]) -> None:
        """Write the resolved recipe and the lineage.

        Raises:
            SaveFailed: the folder cannot be written.
        """
        lineage = {
            "format": FORMAT,
            "miaobi": miaobi.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
            "requested": requested.to_json(),
        }
        write_text(self.lineage, json.dumps(lineage, indent=1, ensure_ascii=False))
        write_text(self.recipe, resolved.to_yaml())

    def _refuse_newer(self) -> None:
        found = _read(self.lineage).get("format", 0)
        if found > FORMAT:
            raise RunFolderError(
                "the run folder was written by a newer version",
                given=f"format {found} in {self.root}",
                allowed=f"up to {FORMAT}",
                cure="update miaobi",
            )


def differences(old: Recipe, new: Recipe) -> list[str]:
    """``key: old -> new`` for every setting that differs and may not."""
    left, right = _settings(old), _settings(new)
    return [
        f"{key}: {left.get(key)!r} -> {right.get(key)!r}"
        for key in sorted(left.keys() | right.keys())
        # In a stage, a null is not the same as nothing said.
        if left.get(key, _ABSENT) != right.get(key, _ABSENT) and not _changeable(key)
    ]


def with_changes(resolved: Recipe, given: Recipe) -> Recipe:
    """``resolved`` with what ``given`` says about cadence and tracking."""
    names = [key.partition(".")[2] for key in CHANGEABLE if key.startswith("train.")]
    # A number of threads that was measured stays, unless another one is asked for.
    values = {n: getattr(given.train, n) for n in names if n != "threads" or given.train.threads is not None}
    return resolved.model_copy(
        update={
            "train": resolved.train.model_copy(update=values),
            "evaluate": resolved.evaluate.model_copy(
                update={"metrics": given.evaluate.metrics, "options": given.evaluate.options}
            ),
        }
    )


def write_text(path: Path, text: str) -> None:
    """Write a file at once: a reader sees the old one or the new one.

    Raises:
        SaveFailed: the disk is full or not writable.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise SaveFailed(f"could not write {path}: {error}", cure="free some disk space") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}", cure="start again in another folder") from None
    if not (isinstance(data, dict) and isinstance(data.get("requested"), dict)):
        raise CorruptFile(f"{path} does not hold a run's lineage", cure="start again in another folder")
    return data


def _leaves(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _settings(recipe: Recipe) -> dict[str, Any]:
    """Every setting by its key; of stages also their order."""
    found = {key: value for key, value in _leaves(recipe.to_json()) if not (value == {} and _holds_changeable(key))}
    return {**found, "stages": list(recipe.stages)} if recipe.stages else found


def _holds_changeable(key: str) -> bool:
    """Whether an empty section differs from an absent one only in what may change."""
    _, _, inner = key.removeprefix("stages.").partition(".")
    return key.startswith("stages.") and (not inner or any(allowed.startswith(f"{inner}.") for allowed in CHANGEABLE))


def _changeable(key: str) -> bool:
    if key.startswith("stages."):
        key = key.split(".", 2)[-1]
    return any(key == allowed or key.startswith(f"{allowed}.") for allowed in CHANGEABLE)
