"""Contrastive encoders of items and what describes them: CLIP (Radford et al. 2021, "Learning transferable visual
models from natural language supervision").

An encoder of the target and a reader of the one condition learn to point the same way for a pair and apart otherwise.
``loss: sigmoid`` is SigLIP (Zhai et al. 2023, "Sigmoid loss for language image pre-training").
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import UnknownName, Unsupported
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.networks import Network
from miaobi.types import Batch, Field, Form, Loss, Phase, Samples, Spec, vector_spec

_HOTTEST = math.log(100)
_START = {"softmax": (math.log(1 / 0.07), 0.0), "sigmoid": (math.log(10), -10.0)}
_TARGET = "target"


class Contrastive(Family):
    """Unit vectors of targets and of their one condition, near each other for what belongs together.

    A pair is compared with every other pair of its batch, so larger batches teach more. Pairs whose condition is absent
    are left out, and so are comparisons between pairs with equal conditions: those are no mistakes.
    """

    class Config(FamilyConfig):
        """The embedding and the loss."""

        condition_drop: float = Value(0.0, ge=0, le=1, description="share of pairs left out of each batch")
        width: int = Value(256, ge=2, le=65536, description="length of the embeddings")
        loss: Literal["softmax", "sigmoid"] = Value("softmax", description="of CLIP, or of SigLIP for small batches")
        smoothing: float = Value(0.0, ge=0, lt=1, description="of softmax: share of a pair given to all the others")

    tiny = {"width": 16}
    targets = frozenset({Form.TENSOR})
    roles = {"encoder": "convolutional", "reader": "mlp"}
    couples_batch = True
    default_steps = 3000

    encoder: Network
    reader: Network

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.condition = next(iter(conditions))
        self.temperature = _Temperature(*_START[config.loss], learn_bias=config.loss == "sigmoid")

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """The target to an embedding; nothing (a zero) to an embedding, given the condition."""
        if target.form is not Form.TENSOR:
            raise Unsupported("contrastive embeds tensors", given=target.form.value, cure="make the text the condition")
        if len(conditions) != 1:
            raise Unsupported(
                "contrastive pairs the target with exactly one condition",
                given=sorted(conditions),
                cure="name one column in data.condition, such as a caption or a label",
            )
        embedding = vector_spec(config.width)
        return {
            "encoder": Ports(target, embedding, {}),
            "reader": Ports(vector_spec(1), embedding, dict(conditions)),
        }

    @classmethod
    def metric(cls, form: Form) -> str:
        """Finding an item's own caption among others."""
        return "retrieval"

    def phases(self) -> list[Phase]:
        """One: both sides and the temperature learn together."""
        return [Phase("contrastive", ("encoder", "reader", "temperature"))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The loss of both directions, halved, summed over the pairs that have a condition."""
        batch = self.drop_conditions(batch, seeds)
        here = batch.conditions[self.condition].is_present()
        others = _others(batch.conditions[self.condition], here)
        logits = self.temperature(self._of_target(batch), self._of_condition(batch))
        losses = self._softmax(logits, others) if self.config.loss == "softmax" else self._sigmoid(logits, others)
        right = (logits.detach().diagonal() >= _only(logits.detach(), others).amax(1)) & here
        count = here.sum().float()
        parts = {"accuracy": right.sum(), "scale": count * self.temperature.scale().detach()}
        return Loss((losses * here).sum(), count, parts)

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Keep the temperature in bounds."""
        self.temperature.clamp()

    @torch.no_grad()
    def embed(self, batch: Batch, side: str = _TARGET) -> Tensor:
        """``[B, width]`` float32 unit vectors of the targets, or of the condition by its name.

        Raises:
            UnknownName: neither.
        """
        if side not in (_TARGET, self.condition):
            raise UnknownName("side to embed", side, [_TARGET, self.condition])
        return self._of_target(batch) if side == _TARGET else self._of_condition(batch)

    def representations(self) -> dict[str, Spec]:
        """``embeddings``: vectors of about unit variance a dimension."""
        return {"embeddings": vector_spec(self.config.width)}

    def represent(self, batch: Batch, kind: str) -> Field:
        """The targets' unit vectors times the square root of their length."""
        self._check(kind)
        return Field(self.embed(batch) * math.sqrt(self.config.width))

    def restore(self, field: Field, kind: str, *, seeds: Tensor) -> Samples:
        """
        Raises:
            Unsupported: always; many targets share an embedding.
        """
        self._check(kind)
        raise Unsupported(
            "a contrastive model has no way back from an embedding",
            cure="train a generative family with the embedding as its condition",
        )

    def _check(self, kind: str) -> None:
        if kind not in self.representations():
            raise UnknownName("representation", kind, self.representations())

    def _of_target(self, batch: Batch) -> Tensor:
        return F.normalize(self.encoder(batch.target.values, {}).float(), dim=1)

    def _of_condition(self, batch: Batch) -> Tensor:
        field = batch.conditions[self.condition]
        # Zero: beside any other constant a caption would be a whisper at first, and all of them would look alike.
        nothing = torch.zeros(len(field), 1, device=field.values.device)
        return F.normalize(self.reader(nothing, {self.condition: field}).float(), dim=1)

    def _softmax(self, logits: Tensor, others: Tensor) -> Tensor:
        """``[B]``: cross-entropy of the pair among its row and among its column."""
        return (self._one_way(logits, others) + self._one_way(logits.T, others)) / 2

    def _one_way(self, logits: Tensor, others: Tensor) -> Tensor:
        own = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
        surprise = -_only(logits, others | own).log_softmax(1)
        smoothing = self.config.smoothing
        spread = surprise.masked_fill(~others, 0).sum(1) / others.sum(1).clamp(min=1)
        return (1 - smoothing) * surprise.diagonal() + smoothing * spread

    def _sigmoid(self, logits: Tensor, others: Tensor) -> Tensor:
        """``[B]``: every comparison of a row on its own."""
        return -F.logsigmoid(logits.diagonal()) - (F.logsigmoid(-logits) * others).sum(1)


class _Temperature(nn.Module):
    """Cosines to logits: a learned scale (the inverse temperature) of 1 to 100, and for SigLIP a learned bias."""

    def __init__(self, log_scale: float, bias: float, *, learn_bias: bool) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(log_scale))
        self.bias = nn.Parameter(torch.tensor(bias)) if learn_bias else None

    def scale(self) -> Tensor:
        return self.log_scale.exp()

    def forward(self, targets: Tensor, conditions: Tensor) -> Tensor:
        """``[B, B]`` float32: rows are targets."""
        with torch.autocast(targets.device.type, enabled=False):
            logits = self.scale() * (targets @ conditions.T)
        return logits if self.bias is None else logits + self.bias

    def clamp(self) -> None:
        # In place: a clamp inside the forward pass has no gradient beyond its ends, and would never come back.
        self.log_scale.clamp_(0, _HOTTEST)


def _others(field: Field, here: Tensor) -> Tensor:
    """``[B, B]`` bool: which conditions of the batch are present and differ from a row's own."""
    values = field.values.flatten(1) if field.values.ndim > 1 else field.values[:, None]
    if field.lengths is not None:
        values = torch.cat([values, field.lengths[:, None].to(values)], 1)
    kinds = values.unique(dim=0, return_inverse=True)[1]
    return (kinds[:, None] != kinds[None]) & here[:, None] & here[None]


def _only(logits: Tensor, among: Tensor) -> Tensor:
    return logits.masked_fill(~among, -torch.inf)
