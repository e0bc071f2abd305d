"""Everything that a step needs, built from a recipe: data, family, optimisers, average."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import torch

from miaobi import evaluation, models
from miaobi.data import Loader, Prepared
from miaobi.errors import InvalidRecipe
from miaobi.families import Counting, Family, require
from miaobi.networks import Network
from miaobi.recipe import Recipe
from miaobi.training import optimisers
from miaobi.training.average import Average
from miaobi.training.continual.distilling import distilled
from miaobi.training.processes import Processes
from miaobi.training.schedule import factor
from miaobi.training.state import RunState
from miaobi.training.step import Outcome, PhaseRunner
from miaobi.types import Batch, Phase

_COMPILER_WARNINGS = (".*torch.jit.script_method", r"The \.grad attribute of a Tensor that is not a leaf")
"""What torch says about itself while it compiles."""


class Assembly:
    """A family and what trains it.

    Args:
        recipe: resolved, or with choices still open while it is rehearsed.
        prepared: its data.
        processes: who takes part.

    Attributes:
        family: in training mode, on its device, with equal weights for equal recipes.
        phases: the turns of a step; empty for a family that counts.
        average: of what is shipped; ``None`` where the recipe wants none.
        compiled: whether its networks are.
        started: what is to be told at the start: what its first weights are of, and which setting has no effect.
    """

    def __init__(self, recipe: Recipe, prepared: Prepared, processes: Processes) -> None:
        self.recipe, self.prepared, self.processes = recipe, prepared, processes
        settings = recipe.train
        self.compiled = False
        self.started: list[str] = []
        self.family: Family = self._build().to(processes.device).train()
        for drawing in (self.family, self.family.shipped()):
            drawing.tokenizer, drawing.rules = prepared.modality.tokenizer, prepared.modality.rules
        if settings.group_by_length and prepared.target.stream:
            self.started.append("train.group_by_length has no effect: windows of one long text are equally long")
        unused = sorted(set(recipe.data.extra) - set(self.family.extras))
        if unused:
            self.started.append(f"data.extra: {recipe.model.family} does not train on {' and '.join(unused)}")
        self.phases = self.family.phases()
        _check(recipe, self.family)
        figures = [self.family.metric(prepared.target.form), *recipe.evaluate.metrics]
        settings_of = (recipe.evaluate.extractor, recipe.evaluate.options, prepared.conditions)
        evaluation.check(figures, self.family, prepared.modality, *settings_of)
        self.optimisers = optimisers.build(self.family, self.phases, settings)
        self.runner = self._runner() if self.phases else None
        shipped = self.family.shipped()
        self.average = Average(shipped, settings.ema) if settings.ema and self.phases else None
        self.loader = Loader(
            prepared.train,
            settings.batch_size,
            recipe.seed,
            augment=recipe.data.augment,
            grouped=settings.group_by_length,
        )

    @property
    def counts(self) -> bool:
        """Whether the family learns by one pass of counting."""
        return not self.phases

    def step(self, state: RunState, steps: int) -> dict[str, Outcome]:
        """One training step at ``state``, which is advanced; what each phase gave, by its name."""
        scale = factor(state.step, steps, self.recipe.train.schedule) * state.guards.rate
        outcomes = {}
        for phase in self.phases:
            for repeat in range(phase.repeat) if phase.active(state.step) else ():
                batch = self.loader.batch(state.batches)
                outcomes[phase.name] = self.turn(phase, batch, state.step, repeat, scale)
                state.batches += 1
                state.items += len(batch)
        if self.average is not None:
            self.average.update(state.step)
        state.step += 1
        return outcomes

    def turn(self, phase: Phase, batch: Batch, step: int, repeat: int, scale: float) -> Outcome:
        """One turn of one phase."""
        return cast(PhaseRunner, self.runner).run(phase, batch, step=step, repeat=repeat, scale=scale)

    def count(self, state: RunState) -> None:
        """The one pass of a family that counts."""
        data, size = self.prepared.train, self.recipe.train.batch_size
        family = require(self.family, Counting, "a family without phases")
        for start in range(0, len(data), size):
            batch = data.batch(range(start, min(start + size, len(data))), augment=None)
            family.observe(batch.to(self.processes.device))
            state.batches += 1
            state.items += len(batch)
        state.step = state.batches

    def use(self, precision: str, compiled: bool) -> None:
        """Set the arithmetic of forward passes, and whether networks are compiled."""
        if self.runner is not None:
            self.runner.precision = precision
        if compiled and not self.compiled:
            self.compiled = True
            for message in _COMPILER_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            for network in self.family.children():
                if isinstance(network, Network):
                    network.compile()

    @contextmanager
    def resting(self) -> Iterator[Family]:
        """What would be shipped now, with averaged weights, in eval mode; training goes on undisturbed afterwards."""
        self.family.eval()
        # Shapes met only here are not worth compiling for.
        stance = "force_eager" if self.compiled else "default"
        try:
            with torch.no_grad(), torch.compiler.set_stance(stance):
                if self.average is None:
                    yield self.family.shipped()
                else:
                    with self.average.applied():
                        yield self.family.shipped()
        finally:
            self.family.train()

    def _build(self) -> Family:
        parts = cast(Mapping[str, models.PartCodec], self.prepared.parts)
        prepared = self.prepared
        known = {"target": prepared.modality, **prepared.conditions}
        family = models.build(
            self.recipe, prepared.target, prepared.specs, parts, modalities=known, log=self.started.append
        )
        for name in family.parts_by_name:
            family.parts_by_name[name].to(self.processes.device)
        return family

    def _runner(self) -> PhaseRunner:
        objective = distilled(self.recipe.refresh, self.family, self.prepared.replayed, self.processes.device)
        settings = (self.recipe.train, self.recipe.seed)
        return PhaseRunner(self.family, self.optimisers, self.processes, *settings, objective)

    def close(self) -> None:
        """Stop the loader."""
        self.loader.close()


def _check(recipe: Recipe, family: Family) -> None:
    if recipe.train.compile == "on" and family.double_backward:
        raise InvalidRecipe(
            "train.compile: on cannot work: this family's loss differentiates a gradient",
            given=recipe.model.family,
            cure="set train.compile: off",
        )


def length(recipe: Recipe, family: Family, items: int) -> int:
    """Steps of a run that is not limited by time. An epoch is a pass over ``items`` by the phase that sees most."""
    settings = recipe.train
    if settings.steps is not None or settings.epochs is None:
        return settings.steps or family.default_steps
    turns = max((phase.repeat / phase.interval for phase in family.phases()), default=1.0)
    return max(1, math.ceil(settings.epochs * items / (settings.batch_size * turns)))
