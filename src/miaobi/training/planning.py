"""What a run will need, measured before it starts; and the choices that the measurement fixes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from miaobi.data import Prepared
from miaobi.recipe import Recipe
from miaobi.training import evaluating, memory, samples
from miaobi.training.assembly import Assembly, length
from miaobi.training.pace import Pace
from miaobi.training.processes import Processes
from miaobi.training.progress import duration
from miaobi.training.rehearsal import Choice, Rehearsal

_LOOKS_SHARE = 0.1
"""Largest share of a run's time that evaluation and live samples take where the recipe leaves their cadence open."""
_SPARE = 0.95
"""Share of a time budget that is planned for; the rest is for checkpoints and the final model."""


@dataclass(frozen=True)
class Estimate:
    """What a run needs.

    Attributes:
        parameters: numbers in the model; ``trained``: those that are trained.
        memory: bytes at the peak: resident memory of the process, or on a GPU what is allocated there; measured by
            rehearsing steps, the heaviest among them, and one evaluation.
        steps: length of the run.
        seconds_per_step: the mean of the run, of medians that were measured.
        seconds_per_look: an evaluation with its live samples, measured on the untrained model.
        looks: how many of them there are.
        seconds: the whole run.
        threads: chosen, like ``precision`` and ``compiled``, by measurement where the recipe leaves it open.
    """

    parameters: int
    trained: int
    memory: int
    steps: int
    seconds_per_step: float
    seconds_per_look: float
    looks: int
    seconds: float
    threads: int
    precision: str
    compiled: bool

    def __str__(self) -> str:
        how = f"{self.precision}, {self.threads} thread{'s' if self.threads > 1 else ''}"
        return (
            f"{_count(self.parameters)} parameters ({_count(self.trained)} trained), {self.memory / 2**20:,.0f} MiB of "
            f"memory, {self.steps:,} steps at {_milliseconds(self.seconds_per_step)} ({how}"
            f"{', compiled' if self.compiled else ''}): about {duration(self.seconds)}"
        )


def plan(recipe: Recipe, prepared: Prepared, processes: Processes) -> tuple[Recipe, Estimate]:
    """Rehearse ``recipe``: it comes back with every open choice fixed, and what it will need.

    Fixed are precision, threads, compilation, steps (from epochs, minutes or the family's default) and the cadence of
    evaluation. The rehearsal trains a copy that is thrown away.
    """
    memory.forget_peak()
    threads = torch.get_num_threads()
    assembly = Assembly(recipe, prepared, Processes(alone=True))
    try:
        evaluating.require(recipe, assembly.family, prepared.modality)
        found = _plan_counting(assembly) if assembly.counts else _plan_training(assembly, processes, threads)
    finally:
        assembly.close()
        torch.set_num_threads(threads)
    compiled = "on" if found.compiled else "off"
    fixed = {
        "steps": found.steps,
        "epochs": None,
        "minutes": None,
        "threads": found.threads,
        "precision": found.precision,
        "compile": compiled,
        "evaluate_every": recipe.train.evaluate_every or math.ceil(found.steps / max(1, found.looks)),
    }
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=fixed)}), found


def _plan_training(assembly: Assembly, processes: Processes, threads: int) -> Estimate:
    settings = assembly.recipe.train
    family = assembly.family
    steps = length(assembly.recipe, family, len(assembly.prepared.train))
    rehearsal = Rehearsal(assembly, steps, processes)
    choice, pace = rehearsal.choose(threads)
    torch.set_num_threads(choice.threads)
    look = _seconds_of_a_look(assembly)
    if settings.minutes is not None:
        steps = _steps_in(settings.minutes * 60 * _SPARE, pace, look, settings.evaluate_every)
    seconds = pace.mean(steps)
    looks = _looks(settings.evaluate_every, steps, seconds, look)
    rehearsal.strain(choice, steps)
    return Estimate(
        parameters=family.size,
        trained=sum(p.numel() for p in {p for o in assembly.optimisers.values() for p in o.parameters}),
        memory=memory.peak(assembly.processes.device),
        steps=steps,
        seconds_per_step=seconds,
        seconds_per_look=look,
        looks=looks,
        seconds=steps * seconds + looks * look,
        threads=choice.threads,
        precision=choice.precision,
        compiled=choice.compiled,
    )


def _plan_counting(assembly: Assembly) -> Estimate:
    data, size = assembly.prepared.train, assembly.recipe.train.batch_size
    began = time.perf_counter()
    batch = data.batch(range(min(size, len(data))), augment=None).to(assembly.processes.device)
    assembly.family.observe(batch)  # type: ignore[operator]
    seconds = time.perf_counter() - began
    steps = math.ceil(len(data) / size)
    held = sum(tensor.numel() for tensor in assembly.family.buffers())
    settings = assembly.recipe.train
    fixed = "bfloat16" if settings.precision == "bfloat16" else "float32"
    choice = Choice(settings.threads or torch.get_num_threads(), fixed)
    peak = memory.peak(assembly.processes.device)
    return Estimate(
        held + assembly.family.size,
        held,
        peak,
        steps,
        seconds,
        0.0,
        1,
        steps * seconds,
        choice.threads,
        choice.precision,
        choice.compiled,
    )


def _seconds_of_a_look(assembly: Assembly) -> float:
    began = time.perf_counter()
    evaluating.evaluate(assembly)
    samples.draw(assembly, samples.SHOWN)
    samples.diversity(assembly)
    return time.perf_counter() - began


def _steps_in(budget: float, pace: Pace, look: float, every: int | None) -> int:
    """Steps that fit into ``budget`` seconds together with the looks at them."""
    if every is not None:
        return pace.steps_in(budget, besides=look / every)
    return pace.steps_in(budget - _affordable(budget, look) * look)


def _looks(every: int | None, steps: int, seconds: float, look: float) -> int:
    if every is not None:
        return math.ceil(steps / every)
    return min(steps, _affordable(steps * seconds, look))


def _affordable(seconds: float, look: float) -> int:
    return max(2, min(evaluating.EVALUATIONS, int(_LOOKS_SHARE * seconds / max(look, 1e-6))))


def _count(number: int) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return str(number)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
