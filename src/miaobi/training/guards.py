"""What watches over a run: divergence, collapse of diversity or of a posterior, vanishing gradients.

A guard's memory is part of every checkpoint, so that a resumed run is guarded as an uninterrupted one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from miaobi.errors import Diverged
from miaobi.types import Field

ROLLBACKS = 3
"""How often a run goes back to its last good checkpoint, at half the rate, before it gives up."""
COLLAPSED_SHARE = 0.1
"""Samples whose mean pairwise distance is below this share of the data's have collapsed."""
PATIENCE = 3
"""Evaluations in a row that find samples collapsed, or gradients vanished, before something is done."""
FAINT = 1e-7
"""A gradient norm below this, before clipping, moves nothing in float32."""


@dataclass
class Guards:
    """Memory of the guards; plain JSON in a checkpoint.

    Attributes:
        rollbacks: times that the run went back.
        rate: what every learning rate is multiplied by.
        was_diverse: whether samples were ever as diverse as they should be.
        collapsed: evaluations in a row that found samples collapsed.
        faint: by phase, log lines in a row with a vanished gradient.
        idle: by phase, log lines in a row, late in a run, in which no latent dimension was used.
    """

    rollbacks: int = 0
    rate: float = 1.0
    was_diverse: bool = False
    collapsed: int = 0
    faint: dict[str, int] = field(default_factory=dict)
    idle: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        return cls(**data)

    def roll_back(self, step: int, phase: str) -> None:
        """Halve the rate, once more.

        Raises:
            Diverged: it was halved `ROLLBACKS` times already.
        """
        if self.rollbacks == ROLLBACKS:
            raise Diverged(
                f"the gradient of phase {phase} became NaN or infinite before step {step}, "
                f"after going back {ROLLBACKS} times at half the rate each time",
                cure="lower train.learning_rate, set train.clip, or train with train.precision: float32; "
                "the last good checkpoint is kept",
            )
        self.rollbacks += 1
        self.rate *= 0.5

    def see_diversity(self, share: float, late: bool) -> bool:
        """Take in the diversity of samples as a share of the data's; whether they have collapsed.

        Samples of an untrained model are alike too: low diversity counts only once it was high, or ``late`` in a run.
        """
        if share >= COLLAPSED_SHARE:
            self.was_diverse, self.collapsed = True, 0
            return False
        if not (self.was_diverse or late):
            return False
        self.collapsed += 1
        return True

    @property
    def gave_up(self) -> bool:
        """Whether samples have been collapsed for too long to come back."""
        return self.collapsed >= PATIENCE

    def see_gradient(self, phase: str, norm: float) -> bool:
        """Take in a gradient norm; true once, when the gradient has just been found to have vanished."""
        self.faint[phase] = self.faint.get(phase, 0) + 1 if norm < FAINT else 0
        return self.faint[phase] == PATIENCE

    def see_units(self, phase: str, units: float, late: bool) -> bool:
        """Take in how many latent dimensions are used; true once, when the posterior has just been found to collapse.

        An encoder that has yet to learn says nothing either: none used counts only ``late`` in a run.
        """
        self.idle[phase] = self.idle.get(phase, 0) + 1 if late and units == 0 else 0
        return self.idle[phase] == PATIENCE


def diversity(items: Field) -> float:
    """Mean distance between pairs of a batch of at least two items.

    Tensors: root mean squared difference. Tokens: share of positions that differ, a missing position differing from
    any token.
    """
    values = items.values
    if not values.is_floating_point():
        values = torch.where(items.mask(), values, -1)
        return _mean_pair((values[:, None] != values[None]).float().mean(2))
    flat = values.float().flatten(1)
    return _mean_pair(torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist") / flat.shape[1] ** 0.5)


def _mean_pair(distances: Tensor) -> float:
    count = len(distances)
    return float(distances.sum()) / (count * (count - 1))
