"""Direct preference optimisation: Rafailov et al. 2023, "Your language model is secretly a reward model".

Pairs of a preferred answer (the target) and a rejected one (``data.extra.rejected``) to the same conditions. With h the
difference of their implied rewards, the loss is ``-log sigmoid(h)``.
"""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor

from miaobi.families._preference import PreferenceFamily
from miaobi.types import Batch, Loss


class DPO(PreferenceFamily):
    """A policy that is raised on preferred answers and lowered on rejected ones, relative to the reference."""

    class Config(PreferenceFamily.Config):
        """Options of the objective."""

        label_smoothing: float = Value(
            0.0, ge=0, lt=0.5, description="share of pairs presumed to be the wrong way round (conservative DPO)"
        )
        length_normalised: bool = Value(
            False, description="rewards of a token and not of an answer (Lambert et al. 2024); needs a larger beta"
        )

    extras = ("rejected",)

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The loss summed over pairs; its parts are rewards, their margin, how often it is right, and the divergence.

        ``divergence`` is KL(policy || reference) of the next token, summed along the preferred answer.
        """
        batch = self.drop_conditions(batch, seeds)
        chosen, rejected = (self.compared(one) for one in (batch, replace(batch, target=batch.extra["rejected"])))
        rewards = [
            self.config.beta * (one.ratio / one.predicted if self.config.length_normalised else one.ratio)
            for one in (chosen, rejected)
        ]
        margin = rewards[0] - rewards[1]
        parts = {
            "chosen_reward": rewards[0],
            "rejected_reward": rewards[1],
            "margin": margin,
            "accuracy": (margin > 0).float(),
            "divergence": chosen.divergence,
        }
        shown = {name: value.detach().sum() for name, value in parts.items()}
        return Loss(dpo_loss(margin, self.config.label_smoothing).sum(), float(len(batch)), shown)


def dpo_loss(margin: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """``[B]``: equation 7 of the paper for differences of rewards ``[B]``.

    With smoothing e it is ``-(1 - e) log sigmoid(h) - e log sigmoid(-h)`` (Mitchell 2023, "A note on DPO with noisy
    preferences and relationship to IPO").
    """
    return -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)
