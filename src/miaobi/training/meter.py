"""Figures of the last few steps, kept on the device until they are wanted."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from miaobi.training.step import Outcome


class Meter:
    """Means of what phases gave since it was last read; reading is the only point that waits for a GPU."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, outcomes: Mapping[str, Outcome]) -> None:
        """Take in a step."""
        for phase, outcome in outcomes.items():
            for name, value in outcome.parts.items():
                self._put(f"{phase}.{name}", value)
            self._put(f"{phase}.gradient_norm", outcome.norm)

    def read(self) -> dict[str, float]:
        """The means, and start again."""
        names = list(self._sums)
        values = torch.stack([self._sums[name].detach().float() for name in names]).tolist() if names else []
        means = {name: value / self._counts[name] for name, value in zip(names, values, strict=True)}
        self._sums, self._counts = {}, {}
        return means

    def _put(self, name: str, value: Tensor) -> None:
        self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._counts[name] = self._counts.get(name, 0) + 1
