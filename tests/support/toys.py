"""A family and a batch small enough to compute by hand with, for tests of the trainer's parts."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from miaobi.families import Family, FamilyConfig
from miaobi.sampling.noise import noise
from miaobi.types import Batch, Field, Form, Loss, Phase, Spec

WIDTH = 3


class Toy(Family):
    """Two linear maps trained in turns: ``first`` towards noise of the item, ``second`` towards ``first``."""

    targets: ClassVar = frozenset({Form.TENSOR})
    list_of_phases: ClassVar = [Phase("one", ("first",)), Phase("two", ("second",), repeat=2)]

    def __init__(self):
        spec = Spec(Form.TENSOR, channels=WIDTH)
        super().__init__(FamilyConfig(), {}, {}, spec, {})
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Linear(WIDTH, 4), nn.Linear(4, WIDTH))
        self.second = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("turns", torch.zeros(()))
        self.seen = []

    @classmethod
    def ports(cls, config, target, conditions):
        return {}

    @classmethod
    def metric(cls, form):
        return "likelihood"

    def phases(self):
        return list(self.list_of_phases)

    def forward(self, batch, phase, seeds):
        self.seen.append((phase, batch.ids.tolist(), seeds.tolist()))
        x = batch.target.values
        out = self.first(x) if phase == "one" else self.second(self.first(x))
        error = (out - noise(seeds, "goal", (WIDTH,))).square().sum()
        count = float(len(batch))
        return Loss(error, count, parts={"error": error.detach()}, statistics={"items": torch.tensor(count)})

    def after_phase(self, phase, statistics):
        self.turns += statistics["items"]


def batch_of(count: int, start: int = 1) -> Batch:
    """Items ``start``, ``start + 1``, ... with values that depend on the id."""
    ids = torch.arange(start, start + count)
    return Batch(Field(noise(ids, "values", (WIDTH,))), ids=ids)
