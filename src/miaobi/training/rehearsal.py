"""Measuring before a run: how long its steps take, what memory they need, and which arithmetic is fastest.

A rehearsal trains a second assembly of the same recipe, which is then thrown away, so nothing of it is left in the run.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from miaobi.networks._cpu import fast_bfloat16
from miaobi.training.assembly import Assembly
from miaobi.training.pace import Pace
from miaobi.training.processes import Processes

_ROUNDS = 3
_GROUPED = 5
_PATIENCE = 6.0
"""Seconds after which a comparison takes what it has."""
_SAMPLE = 0.03
"""Seconds that one measurement lasts at least."""
_GAIN = 0.95
"""A choice that costs something (threads, precision) has to be at least this much faster."""
_COMPILATION = 60.0
"""Seconds that compiling is taken to cost; shorter runs do not try it."""


@dataclass(frozen=True)
class Choice:
    """How steps are computed."""

    threads: int
    precision: str = "float32"
    compiled: bool = False


class Rehearsal:
    """Times steps of an assembly.

    Args:
        assembly: of its own; what it learns is thrown away.
        steps: length of the run that is rehearsed, for phases that do not run throughout.
        share: whose rows of a batch are taken; what several processes spend on talking is not measured.
    """

    def __init__(self, assembly: Assembly, steps: int, share: Processes) -> None:
        self._assembly = assembly
        self._steps = steps
        self._share = share
        # Batches of like lengths differ among each other, so a few say little about their time.
        self._varied = assembly.recipe.train.group_by_length
        count = _GROUPED if self._varied else 2
        self._batches = [share.rows(assembly.loader.batch(index)) for index in range(count)]
        self._turn = 0
        self._rows: dict[Choice, list[list[float]]] = {}

    def choose(self, threads: int) -> tuple[Choice, Pace]:
        """The fastest way that the recipe allows on up to ``threads`` threads, and how long steps take so."""
        settings = self._assembly.recipe.train
        device = self._assembly.processes.device
        fixed = "bfloat16" if settings.precision == "bfloat16" else "float32"
        measured = device.type == "cpu" and not settings.threads
        counts = thread_counts(threads) if measured else [settings.threads or threads]
        best, seconds = self.race([Choice(count, fixed) for count in counts])
        if settings.precision == "auto" and fast_bfloat16(device):
            best, seconds = self.race([best, replace(best, precision="bfloat16")])
        if self._wants_compilation(seconds):
            best = self._try_compilation(best, seconds)
        return best, self._pace([statistics.median(column) for column in zip(*self._rows[best], strict=True)])

    def race(self, choices: Sequence[Choice]) -> tuple[Choice, float]:
        """The first of ``choices``, unless a later one is clearly faster; and its median seconds a step.

        They take turns, so that another program's load falls on all alike.
        """
        times: dict[Choice, list[float]] = {choice: [] for choice in choices}
        for choice in choices:
            self._seconds(choice, least=0.0)
        began = time.perf_counter()
        for _ in range(_ROUNDS):
            for choice in choices:
                times[choice].append(self._seconds(choice, least=_SAMPLE))
            if time.perf_counter() - began > _PATIENCE:
                break
        medians = {choice: statistics.median(values) for choice, values in times.items()}
        best = choices[0]
        for choice in choices[1:]:
            if medians[choice] < _GAIN * medians[best]:
                best = choice
        return best, medians[best]

    def strain(self, choice: Choice, steps: int) -> None:
        """Take a step on the batches of a run of ``steps`` that need the most memory, so that the peak is known."""
        torch.set_num_threads(choice.threads)
        self._assembly.use(choice.precision, compiled=False)
        # Shapes met only here are not worth compiling for, and need no less memory as they are.
        with torch.compiler.set_stance("force_eager" if self._assembly.compiled else "default"):
            turns = sum(phase.repeat for phase in self._assembly.phases)
            for index in self._assembly.loader.heaviest(steps * turns):
                batch = self._share.rows(self._assembly.loader.batch(index))
                for phase in self._assembly.phases:
                    self._assembly.turn(phase, batch, 0, 0, scale=0.0)

    def _wants_compilation(self, seconds: float) -> bool:
        settings = self._assembly.recipe.train
        if settings.compile == "auto":
            return seconds * self._steps > 2 * _COMPILATION and not self._assembly.family.double_backward
        return settings.compile == "on"

    def _try_compilation(self, plain: Choice, seconds: float) -> Choice:
        compiled = replace(plain, compiled=True)
        self._assembly.use(plain.precision, compiled=True)
        began = time.perf_counter()
        _, faster = self.race([compiled])
        cost = time.perf_counter() - began
        pays = (seconds - faster) * self._steps > cost
        return compiled if pays or self._assembly.recipe.train.compile == "on" else plain

    def _seconds(self, choice: Choice, least: float) -> float:
        torch.set_num_threads(choice.threads)
        self._assembly.use(choice.precision, compiled=False)
        rows: list[list[float]] = []
        began = time.perf_counter()
        while len(rows) < (len(self._batches) if least and self._varied else 1) or time.perf_counter() - began < least:
            rows.append(self._step())
        means = [statistics.fmean(column) for column in zip(*rows, strict=True)]
        if least:
            self._rows.setdefault(choice, []).append(means)
        return self._pace(means).mean(self._steps)

    def _pace(self, row: Sequence[float]) -> Pace:
        *turns, rest = row
        return Pace(tuple(zip(self._assembly.phases, turns, strict=True)), rest)

    def _step(self) -> list[float]:
        """Seconds of a turn of each phase, and of the rest of a step."""
        row = []
        for phase in self._assembly.phases:
            began = time.perf_counter()
            batch = self._batches[self._turn % len(self._batches)]
            self._assembly.turn(phase, batch, 0, 0, scale=0.0)
            self._synchronise()
            row.append(time.perf_counter() - began)
            self._turn += 1
        began = time.perf_counter()
        if self._assembly.average is not None:
            self._assembly.average.update(0)
        self._synchronise()
        return [*row, time.perf_counter() - began]

    def _synchronise(self) -> None:
        if self._assembly.processes.device.type == "cuda":
            torch.cuda.synchronize()


def thread_counts(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``."""
    counts = [1]
    while counts[-1] * 2 <= most:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == most else [*counts, most]
