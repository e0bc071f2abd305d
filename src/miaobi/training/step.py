"""One turn of a phase: forward and backward over micro-batches, one division, one clipping, one update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from miaobi.families import Family
from miaobi.recipe import TrainSettings
from miaobi.sampling.noise import derive_one, seeds_of
from miaobi.training.optimisers import PhaseOptimiser, rate_of
from miaobi.training.precision import autocast
from miaobi.training.processes import Processes
from miaobi.types import Batch, Loss, Phase


@dataclass
class Sums:
    """Losses added up over micro-batches and processes; divided by ``count`` when read."""

    count: Tensor | float = 0.0
    parts: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)

    def add(self, loss: Loss) -> None:
        """Take in a micro-batch."""
        self.count = self.count + loss.count
        _add(self.parts, {"loss": loss.total.detach(), **loss.parts})
        _add(self.statistics, loss.statistics)

    def over(self, processes: Processes) -> Sums:
        """The sums over all processes."""
        if processes.count == 1:
            return self
        count = processes.sum(torch.as_tensor(self.count, dtype=torch.float32, device=processes.device))
        return Sums(count, processes.sum_all(self.parts), processes.sum_all(self.statistics))


@dataclass(frozen=True)
class Outcome:
    """What a turn gave: mean loss and parts, and the gradient's norm before clipping; all still on the device."""

    parts: dict[str, Tensor]
    norm: Tensor


class PhaseRunner:
    """Runs the phases of a family.

    Args:
        family: on its device.
        optimisers: by set of modules.
        processes: who else takes part.
        settings: accumulation, clipping and rates.
        seed: the run's.
        objective: what is called as the family is, and differentiated; default: the family.

    Attributes:
        precision: ``float32`` or ``bfloat16``: of forward passes.
    """

    def __init__(
        self,
        family: Family,
        optimisers: Mapping[frozenset[str], PhaseOptimiser],
        processes: Processes,
        settings: TrainSettings,
        seed: int,
        objective: nn.Module | None = None,
    ) -> None:
        self.family, self.optimisers, self.processes, self.settings, self.seed = (
            family, optimisers, processes, settings, seed,
        )  # fmt: skip
        self.precision = "float32"
        self._trained = {id(p): p for optimiser in optimisers.values() for p in optimiser.parameters}
        for parameter in family.parameters():
            parameter.requires_grad_(id(parameter) in self._trained)
        self._wrapped = processes.wrap(family if objective is None else objective)
        self._active: PhaseOptimiser | None = None

    def run(self, phase: Phase, batch: Batch, *, step: int, repeat: int, scale: float) -> Outcome:
        """One turn on a fresh global batch.

        Args:
            phase: which.
            batch: the same in every process.
            step: steps done before this one.
            repeat: which turn of the phase in this step.
            scale: what the recipe's learning rates are multiplied by.
        """
        optimiser = self._activate(phase)
        keys = (step, phase.name, repeat)
        sums = Sums()
        parts = list(self._micro_batches(self.processes.rows(batch)))
        for micro, part in enumerate(parts):
            # Dropout is the one consumer of the global generator.
            _seed(self.processes.device, derive_one(self.seed, "dropout", *keys, micro, self.processes.rank))
            seeds = seeds_of(derive_one(self.seed, "train", *keys), part.ids)
            with self.processes.without_sync(self._wrapped, waiting=micro + 1 < len(parts)):
                with autocast(self.processes.device, self.precision):
                    loss: Loss = self._wrapped(part, phase.name, seeds)
                loss.total.backward()
            sums.add(loss)
        sums = sums.over(self.processes)
        norm = self._update(optimiser, sums.count, scale * rate_of(phase, self.settings))
        with torch.no_grad():
            self.family.after_phase(phase.name, sums.statistics)
        return Outcome({name: value / sums.count for name, value in sums.parts.items()}, norm)

    def _activate(self, phase: Phase) -> PhaseOptimiser:
        optimiser = self.optimisers[frozenset(phase.modules)]
        if optimiser is not self._active:
            inside = {id(parameter) for parameter in optimiser.parameters}
            for key, parameter in self._trained.items():
                parameter.requires_grad_(key in inside)
            self._active = optimiser
        return optimiser

    def _micro_batches(self, batch: Batch) -> Iterator[Batch]:
        count = self.settings.accumulate
        bounds = [len(batch) * index // count for index in range(count + 1)]
        for start, end in pairwise(bounds):
            if end > start:
                part = batch if count == 1 else batch.select(slice(start, end))
                yield part if part.ids.device == self.processes.device else part.to(self.processes.device)

    def _update(self, optimiser: PhaseOptimiser, count: Tensor | float, scale: float) -> Tensor:
        gradients = optimiser.gradients()
        if not gradients:
            return torch.zeros((), device=self.processes.device)
        # Wrapping averages gradients over processes where the sum is meant. One multiplication divides and clips.
        share = self.processes.count / torch.as_tensor(count, device=self.processes.device).clamp(min=1e-12)
        norm = get_total_norm(gradients, foreach=True) * share
        if self.settings.clip is not None:
            share = share * (self.settings.clip / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_(gradients, share)
        optimiser.step(scale)
        return norm


def _seed(device: torch.device, seed: int) -> None:
    # torch.manual_seed seeds every backend there could be, which takes longer than a small layer.
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def _add(sums: dict[str, Tensor], more: Mapping[str, Tensor]) -> None:
    for name, value in more.items():
        sums[name] = sums[name] + value if name in sums else value
