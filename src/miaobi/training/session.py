"""A run under way: its assembly, where it stands, and its folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from miaobi.data import Prepared
from miaobi.errors import RunFolderError
from miaobi.models import load_into, open_supplies, tensors_of
from miaobi.models.codec import digest
from miaobi.networks._cpu import keep_memory
from miaobi.recipe import Recipe
from miaobi.training import tracking
from miaobi.training.assembly import Assembly
from miaobi.training.checkpoint import Checkpoint, Checkpoints, Saved
from miaobi.training.opening import beside, open_data
from miaobi.training.planning import plan
from miaobi.training.processes import Processes
from miaobi.training.progress import Reporter
from miaobi.training.run_folder import RunFolder
from miaobi.training.state import RunState
from miaobi.training.tracking import Tracker, Untracked


class Session:
    """Opens a run: a new one is rehearsed and begun, an old one goes on from its last good checkpoint.

    Args:
        requested: the recipe as asked for.
        folder: where the run is, or will be.
        resume: whether a used folder may be gone on with.
        reporter: who is told.
        whole: the folder of the whole run, where this is a stage of it.

    Raises:
        RequestError: the recipe, the data or the folder cannot be used.
        CorruptFile: none of the run's checkpoints can be read.
    """

    def __init__(
        self, requested: Recipe, folder: RunFolder, *, resume: bool, reporter: Reporter, whole: Path | None = None
    ) -> None:
        self.folder, self.reporter, self.whole = folder, reporter, whole or folder.root
        keep_memory()
        self.processes = Processes()
        if not self.processes.writes:
            self.reporter.silence()
        tracking.require(requested.train.tracking)
        opened = beside(requested, folder.root)
        self.supplies = open_supplies(opened)
        resolved = folder.claim(requested, resume=resume) if self.processes.writes else None
        with self.processes.first():
            self.prepared: Prepared = open_data(opened, log=reporter.say)
        self.recipe = self._agreed(resolved or self._begin(requested, opened) if self.processes.writes else None)
        settings = self.recipe.train
        torch.set_num_threads(settings.threads or torch.get_num_threads())
        self.assembly = Assembly(beside(self.recipe, folder.root), self.prepared, self.processes)
        parts = self.assembly.family.parts_by_name
        self._parts = {f"part {name}": digest(parts[name]) for name in parts}
        self.assembly.use(settings.precision, compiled=settings.compile == "on")
        self.checkpoints = Checkpoints(folder.checkpoints)
        self.state = RunState()
        self._go_on()
        self.tracker = self._tracker()
        if self.state.step == 0:
            for text in self.assembly.started:
                self.notice(text)

    @property
    def steps(self) -> int:
        """Length of the run."""
        return self.recipe.train.steps or 1

    @property
    def expected_memory(self) -> int | None:
        """Bytes that the run needs at its peak, as estimated before it; ``None`` on a GPU or where it is not said."""
        said = self._lineage().get("estimate", {}).get("memory")
        return said if isinstance(said, int) and self.processes.device.type == "cpu" else None

    def every(self, name: str) -> int:
        """Steps between two evaluations, checkpoints or samples (``evaluate``, ``checkpoint``, ``sample``)."""
        evaluate = self.recipe.train.evaluate_every or math.ceil(self.steps / 20)
        return getattr(self.recipe.train, f"{name}_every") or evaluate

    def save(self) -> None:
        """Write a checkpoint of now.

        Raises:
            SaveFailed: the disk is full; earlier checkpoints are intact.
        """
        if self.processes.writes:
            self.checkpoints.save(self.state.step, self._checkpoint())

    def restore(self, saved: Saved) -> None:
        """Go to where a checkpoint was taken."""
        self.take_weights(saved)
        tensors = saved.optimiser
        for name, optimiser in self._optimisers().items():
            optimiser.load(_below(tensors, name))
        self.state = RunState.from_json(saved.state["run"])

    def take_weights(self, saved: Saved) -> None:
        """Put a checkpoint's weights and average in place; nothing else changes."""
        load_into(self.assembly.family, saved.weights, str(saved.folder))
        if self.assembly.average is not None:
            self.assembly.average.load(saved.average)

    def notice(self, text: str) -> None:
        """Tell the person, and write it into the run."""
        self.reporter.say(text)
        self.tracker.notice(self.state.step, text)

    def close(self) -> None:
        """Stop the loader and the trackers."""
        self.assembly.close()
        self.tracker.close()

    def _begin(self, requested: Recipe, opened: Recipe) -> Recipe:
        planned, estimate = plan(opened, self.prepared, self.processes)
        resolved = requested.model_copy(update={"train": planned.train})
        self.reporter.say(str(estimate))
        self.folder.begin(requested, resolved, {**self._facts(), "estimate": asdict(estimate)})
        return resolved

    def _agreed(self, resolved: Recipe | None) -> Recipe:
        """The first process's recipe, in every process."""
        return Recipe.load(self.processes.agree(resolved.to_json() if resolved else None))

    def _facts(self) -> dict[str, Any]:
        prepared = self.prepared
        return {
            "data": {
                "source": prepared.source,
                "licence": prepared.licence,
                "fingerprint": prepared.fingerprint,
                "items": {part: len(getattr(prepared, part)) for part in ("train", "validation", "test")},
            },
            "processes": self.processes.count,
        }

    def _go_on(self) -> None:
        saved = self.checkpoints.latest()
        if saved is None:
            return
        if self.processes.writes:
            self._require_same_data()
        self.restore(saved)
        if self.processes.writes:
            self.checkpoints.forget_after(self.state.step)
        self.reporter.say(f"going on from step {self.state.step} of {self.steps}")
        now = self._surroundings()
        changed = [f"{k} {v} -> {now[k]}" for k, v in saved.state["surroundings"].items() if v != now.get(k)]
        if changed:
            self.reporter.say(f"not bit-identical to an uninterrupted run any more: {', '.join(changed)}")

    def _require_same_data(self) -> None:
        then, now = self._lineage().get("data", {}).get("fingerprint"), self.prepared.fingerprint
        if then is not None and then != now:
            raise RunFolderError(
                "the data is not what the run was begun with",
                given=f"{self.prepared.source}: {now}",
                allowed=then,
                cure="put the old data back, or start a run in another folder",
            )

    def _lineage(self) -> dict[str, Any]:
        path = self.folder.lineage
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}  # type: ignore[no-any-return]

    def _tracker(self) -> Tracker:
        if not self.processes.writes:
            return Untracked()
        return Tracker(self.folder, self.recipe.train.tracking, self.recipe, self.state.step)

    def _checkpoint(self) -> Checkpoint:
        optimisers = self._optimisers().items()
        return Checkpoint(
            weights=tensors_of(self.assembly.family),
            average=self.assembly.average.state() if self.assembly.average is not None else {},
            optimiser={f"{name}/{key}": value for name, o in optimisers for key, value in o.state().items()},
            state={
                "run": self.state.to_json(),
                "groups": {name: optimiser.groups() for name, optimiser in optimisers},
                "surroundings": self._surroundings(),
            },
        )

    def _optimisers(self) -> dict[str, Any]:
        return {"+".join(sorted(modules)): optimiser for modules, optimiser in self.assembly.optimisers.items()}

    def _surroundings(self) -> dict[str, Any]:
        return {
            "threads": torch.get_num_threads(),
            "processes": self.processes.count,
            "device": self.processes.device.type,
            "torch": torch.__version__,
            **self._parts,
        }


def _below(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
