"""Checkpoints: written whole or not at all, checked when read, the last two and the best kept.

A checkpoint is a folder: ``weights``, ``average`` and ``optimiser.safetensors``, ``state.json``, and ``manifest.json``
with the size and SHA-256 of each. It is written beside its place, flushed to the disk, and renamed into place, so a
process killed at any moment leaves the previous checkpoints as they were.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from miaobi.errors import CorruptFile, SaveFailed
from miaobi.models import read_tensors, write_tensors

KEPT = 2
_MANIFEST = "manifest.json"
_TENSORS = ("weights", "average", "optimiser")


@dataclass(frozen=True)
class Checkpoint:
    """What is saved.

    Attributes:
        weights: parameters and persistent buffers.
        average: averaged parameters; empty without averaging.
        optimiser: state tensors by ``SET/PARAMETER/KEY``.
        state: the rest, as plain JSON.
    """

    weights: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimiser: Mapping[str, Tensor]
    state: Mapping[str, Any]


@dataclass(frozen=True)
class Saved:
    """A checkpoint on the disk, found good; its tensors are read when asked for, a file at a time, to spare memory.

    Attributes:
        folder: where it is.
        state: as it was saved.
    """

    folder: Path
    state: Mapping[str, Any]

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters and persistent buffers."""
        return self._read("weights")

    @property
    def average(self) -> dict[str, Tensor]:
        """Averaged parameters; empty without averaging."""
        return self._read("average")

    @property
    def optimiser(self) -> dict[str, Tensor]:
        """State tensors by ``SET/PARAMETER/KEY``."""
        return self._read("optimiser")

    def _read(self, name: str) -> dict[str, Tensor]:
        return read_tensors(self.folder / f"{name}.safetensors")


class Checkpoints:
    """The checkpoints of a run.

    Args:
        folder: where they are; created with the first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        found = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return sorted(int(text) for text in found if text.isdecimal())

    def path(self, step: int) -> Path:
        """The folder of a step's checkpoint."""
        return self.folder / f"step-{step:08d}"

    def save(self, step: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove those that are neither recent nor best.

        Raises:
            SaveFailed: the disk is full or not writable; earlier checkpoints are intact.
        """
        fresh = self.folder / f".step-{step:08d}-{os.getpid()}"
        try:
            self._sweep()
            fresh.mkdir(parents=True)
            _write(fresh, checkpoint)
            self._put(fresh, self.path(step))
        except (OSError, SaveFailed) as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise SaveFailed(
                f"could not save the checkpoint of step {step}: {error}",
                given=str(self.folder),
                cure="free some disk space and resume; the last checkpoint is intact",
            ) from None
        self._prune()

    def load(self, step: int) -> Saved:
        """A step's checkpoint, compared with its manifest.

        Raises:
            CorruptFile: absent, cut short or altered.
        """
        folder = self.path(step)
        check(folder)
        return Saved(folder, _read_json(folder / "state.json"))

    def latest(self) -> Saved | None:
        """The last good checkpoint; a damaged one is named in a warning, and the one before it used.

        Raises:
            CorruptFile: there are checkpoints, and none is good.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                return self.load(step)
            except CorruptFile as error:
                warnings.warn(f"{error.message}; going on from the checkpoint before it", stacklevel=2)
                damaged = step
        if steps:
            raise CorruptFile(
                "no checkpoint of this run can be read",
                given=str(self.path(damaged)),
                cure="start again in another folder",
            )
        return None

    def forget_after(self, step: int) -> None:
        """Remove checkpoints of later steps, before going on from ``step``."""
        for later in self.steps():
            if later > step:
                shutil.rmtree(self.path(later))

    def _sweep(self) -> None:
        # What a killed process left half written.
        for path in self.folder.glob(".step-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _put(self, fresh: Path, place: Path) -> None:
        if place.exists():
            place.rename(fresh.with_name(f"{fresh.name}-old"))
        fresh.rename(place)
        _flush(self.folder)
        shutil.rmtree(fresh.with_name(f"{fresh.name}-old"), ignore_errors=True)

    def _prune(self) -> None:
        recent = self.steps()[-KEPT:]
        # Should the last one turn out damaged, the one before it must find its own best.
        best = {self._best_of(step) for step in recent}
        for step in self.steps():
            if step not in recent and step not in best:
                shutil.rmtree(self.path(step), ignore_errors=True)

    def _best_of(self, step: int) -> int | None:
        try:
            best = _read_json(self.path(step) / "state.json")["run"]["best"]
        except (CorruptFile, KeyError):
            return None
        return best["step"] if best else None


def check(folder: Path) -> None:
    """Compare a checkpoint's files with its manifest.

    Raises:
        CorruptFile: naming the file that is absent, cut short or altered.
    """
    for name, expected in _read_json(folder / _MANIFEST).items():
        path = folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != expected["size"]:
            raise CorruptFile(f"{path} is cut short", given=f"{size} bytes", allowed=f"{expected['size']} bytes")
        if _sha256(path) != expected["sha256"]:
            raise CorruptFile(f"{path} is altered: its checksum differs")


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    for name in _TENSORS:
        write_tensors(getattr(checkpoint, name), folder / f"{name}.safetensors")
    _write_json(checkpoint.state, folder / "state.json")
    files = sorted(folder.iterdir())
    manifest = {path.name: {"size": path.stat().st_size, "sha256": _sha256(path)} for path in files}
    _write_json(manifest, folder / _MANIFEST)
    for path in (*files, folder / _MANIFEST, folder):
        _flush(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_json(data: Mapping[str, Any], path: Path) -> None:
    path.write_text(json.dumps(data, indent=1), encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise CorruptFile(f"{path} does not hold what it should")
    return data
