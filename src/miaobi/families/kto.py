"""Kahneman-Tversky optimisation: Ethayarajh et al. 2024, "KTO: Model alignment as prospect theoretic optimization".

Single answers, each marked desirable or not (``data.extra.desirable``). What an answer is worth is its reward above a
reference point, which is the divergence of the policy from the reference.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import InvalidRecipe
from miaobi.families._preference import PreferenceFamily
from miaobi.types import Batch, Loss


class KTO(PreferenceFamily):
    """A policy that is raised on desirable answers and lowered on undesirable ones, each to a limit."""

    class Config(PreferenceFamily.Config):
        """Options of the objective; where one side is rare, a larger weight makes up for it."""

        desirable_weight: float = Value(1.0, ge=0, le=1000, description="lambda_D: of desirable answers")
        undesirable_weight: float = Value(1.0, ge=0, le=1000, description="lambda_U: of undesirable answers")

    extras = ("desirable",)
    couples_batch = True

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The loss summed over answers; its parts are the reference point, the margin of rewards, and the divergence.

        ``margin`` is between the means of both sides of a micro-batch that has both; ``divergence`` is KL(policy ||
        reference) of the next token, summed along the answer.

        Raises:
            InvalidRecipe: a single item, which has no other's answer to estimate the reference point from.
        """
        if len(batch) < 2:
            raise InvalidRecipe(
                "kto estimates its reference point from the other items of a micro-batch",
                given="micro-batches of one item",
                cure="raise train.batch_size, or lower train.accumulate",
            )
        batch = self.drop_conditions(batch, seeds)
        own, desirable = self.compared(batch), batch.extra["desirable"].values.bool()
        point = self._reference_point(batch, own.ratio)
        weights = self.config.desirable_weight, self.config.undesirable_weight
        loss = kto_loss(own.ratio, desirable, point, self.config.beta, *weights)
        rewards = self.config.beta * own.ratio.detach()
        parts = {
            "reference_point": point * len(batch),
            "margin": _margin(rewards, desirable) * len(batch),
            "divergence": own.divergence.sum(),
        }
        return Loss(loss.sum(), float(len(batch)), parts)

    @torch.no_grad()
    def _reference_point(self, batch: Batch, ratio: Tensor) -> Tensor:
        """The mean log ratio of the next item's answer to each prompt, at least 0; without prompts any answer's."""
        if batch.conditions:
            shifted = batch.target.map(lambda tensor: tensor.roll(-1, 0))
            ratio = self.compared(replace(batch, target=shifted)).ratio
        return ratio.detach().mean().clamp(min=0)


def kto_loss(
    ratio: Tensor, desirable: Tensor, point: Tensor, beta: float, desirable_weight: float, undesirable_weight: float
) -> Tensor:
    """``[B]``: equation 8 of the paper, ``lambda_y - v(x, y)``.

    Args:
        ratio: ``[B]``, log of policy over reference.
        desirable: ``[B]`` bool.
        point: scalar, the reference point, in nats.
        beta: in front of the difference of both.
        desirable_weight: lambda_D.
        undesirable_weight: lambda_U.
    """
    gain = beta * torch.where(desirable, ratio - point, point - ratio)
    weight = torch.where(desirable, desirable_weight, undesirable_weight).to(ratio.dtype)
    # 1 - sigmoid(z), without cancellation.
    return weight * torch.sigmoid(-gain)


def _margin(rewards: Tensor, desirable: Tensor) -> Tensor:
    if not desirable.any() or desirable.all():
        return rewards.new_zeros(())
    return rewards[desirable].mean() - rewards[~desirable].mean()
