"""Regression: a number (or a few) that belongs to an item, given what is read of it.

Least squares is Legendre 1805; least absolute deviations, which outliers move less, Boscovich 1757. It can start from a
masked language model, as in Devlin et al. 2019, "BERT: Pre-training of deep bidirectional Transformers for language
understanding".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families._base import Ports, refuse_prefix
from miaobi.families._reading import ReadingConfig, ReadingFamily
from miaobi.types import Batch, Field, Form, Loss, Samples, Spec


class Regressor(ReadingFamily):
    """Reads a condition and estimates the target's numbers; its samples are its estimates."""

    class Config(ReadingConfig):
        """Options of the objective."""

        loss: Literal["squared", "absolute"] = Value("squared", description="estimates a mean, or a median")

    targets = frozenset({Form.TENSOR})

    @classmethod
    def outputs(cls, target: Spec) -> int:
        return target.channels

    @classmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        if target.space:
            raise Unsupported(
                "a regressor estimates numbers",
                given=f"a target of extents {target.space}",
                cure="use modality: number, or a family that makes images or sound",
            )
        return super().ports(config, target, conditions)

    @classmethod
    def metric(cls, form: Form) -> str:
        return "regression"

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        batch = self.drop_conditions(batch, seeds)
        error = self.said(batch.conditions, len(batch)) - batch.target.values.float()
        losses = (error.square() if self.config.loss == "squared" else error.abs()).sum(1)
        return Loss(losses.sum(), len(batch))

    @torch.no_grad()
    def predict(self, conditions: dict[str, Field]) -> Tensor:
        """Estimates ``[B, C]`` float32, in standard deviations from the mean."""
        return self.said(conditions, len(next(iter(conditions.values()))))

    @torch.no_grad()
    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """Estimates ``[len(seeds), C]``."""
        refuse_prefix(prefix, "a regressor")
        return Samples(self.said(conditions, len(seeds)))
