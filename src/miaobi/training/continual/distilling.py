"""Distillation from the model that is refreshed: on replayed items the new predictions are kept near the old ones.

Li and Hoiem 2016, "Learning without forgetting", with replayed items in place of new ones; the divergence is that of
Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network", at temperature 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from miaobi import models
from miaobi.families import Distilling, Family, require
from miaobi.recipe import RefreshSettings
from miaobi.types import Batch, Loss


class Distilled(nn.Module):
    """A family's loss with ``weight`` times the divergence from a frozen model's predictions.

    The divergence is KL(old || new), in nats, summed over everything that is predicted in replayed items and weighted
    as the loss weights it; it is divided by the same count as the loss.

    Args:
        family: what is trained.
        teacher: the old model's family: frozen, and no part of what is trained or saved.
        replayed: ids of the items that count.
        weight: above 0.

    Raises:
        Unsupported: one of them does not predict by distributions.
    """

    def __init__(self, family: Family, teacher: Family, replayed: Tensor, weight: float) -> None:
        super().__init__()
        for one in (family, teacher):
            require(one, Distilling, "refresh.distil")
        self.family = family
        # In a tuple, the module does not see it.
        self._teacher = (teacher.eval().requires_grad_(False),)
        self._replayed, self._weight = replayed.to(family.device), weight

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The family's loss, its part ``distil`` being the divergence before it is weighted."""
        loss: Loss = self.family(batch, phase, seeds)
        old = torch.isin(batch.ids, self._replayed)
        apart = self._divergence(batch.select(old)) if old.any() else loss.total.new_zeros(())
        parts = {**loss.parts, "distil": apart.detach()}
        return Loss(loss.total + self._weight * apart, loss.count, parts, loss.statistics)

    def _divergence(self, batch: Batch) -> Tensor:
        (teacher,) = self._teacher
        with torch.no_grad():
            wanted, weight = teacher.distributions(batch)  # type: ignore[operator]
        found, _ = self.family.distributions(batch)  # type: ignore[operator]
        return divergence(wanted, found, weight)


def divergence(wanted: Tensor, found: Tensor, weight: Tensor) -> Tensor:
    """Sum of ``weight [N]`` times KL(wanted || found), in nats, of log-probabilities ``[N, V]``."""
    # What cannot happen has the log-probability minus infinity on both sides, and counts nothing.
    terms = torch.where(wanted.isneginf(), 0.0, wanted.exp() * (wanted - found))
    return (weight * terms.sum(1)).sum()


def distilled(settings: RefreshSettings, family: Family, replayed: Tensor | None, device: torch.device) -> nn.Module:
    """What a run differentiates: the family, or where ``distil`` is set, the family kept near the old model.

    Raises:
        Unsupported: the family does not predict by distributions.
    """
    if settings.parent is None or not settings.distil or replayed is None:
        return family
    teacher = models.load(settings.parent).family.to(device)
    return Distilled(family, teacher, replayed, settings.distil)
