"""Classification: which class an item belongs to, given what is read of it.

The softmax of one network's outputs, trained by cross-entropy (Bridle 1990, "Probabilistic interpretation of
feedforward classification network outputs"); it can start from a masked language model, as in Devlin et al. 2019,
"BERT: Pre-training of deep bidirectional Transformers for language understanding".
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor

from miaobi.families import _base
from miaobi.families._base import refuse_prefix
from miaobi.families._reading import ReadingConfig, ReadingFamily
from miaobi.sampling.logits import draw, tempered
from miaobi.sampling.noise import uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Samples, Spec


class Classifier(ReadingFamily):
    """Gives every class a probability. Its samples are its best guess, unless it is asked to draw."""

    class Config(ReadingConfig):
        """Options of the objective."""

        label_smoothing: float = Value(0.0, ge=0, lt=1, description="share of the target spread over the classes")

    class Controls(_base.Controls):
        """How a class is chosen."""

        temperature: float = Value(0.0, ge=0, le=100, description="0 takes the most likely class, 1 draws")

    targets = frozenset({Form.LABEL})

    @classmethod
    def outputs(cls, target: Spec) -> int:
        return target.vocabulary

    @classmethod
    def metric(cls, form: Form) -> str:
        return "accuracy"

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        batch = self.drop_conditions(batch, seeds)
        labels = batch.target.values
        logits = self.said(batch.conditions, len(batch))
        weight = torch.ones_like(labels, dtype=torch.float32) if batch.target.weight is None else batch.target.weight
        losses = F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.config.label_smoothing)
        right = (logits.argmax(1) == labels).float()
        return Loss((losses * weight).sum(), weight.sum(), {"accuracy": (right * weight).sum().detach()})

    @torch.no_grad()
    def predict(self, conditions: dict[str, Field]) -> Tensor:
        """Log-probabilities ``[B, classes]`` float32."""
        return self.said(conditions, len(next(iter(conditions.values())))).log_softmax(1)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """Exact, of each item's class; ``seeds`` are not needed."""
        log_probs = self.said(batch.conditions, len(batch)).log_softmax(1)
        nats = -log_probs.gather(1, batch.target.values[:, None])[:, 0]
        return Bound(nats, exact=True, predicted=torch.ones_like(batch.target.values))

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
        """Classes ``[len(seeds)]`` int64, with their log-probabilities before any control."""
        refuse_prefix(prefix, "a classifier")
        temperature = (controls or self.Controls()).temperature
        log_probs = self.said(conditions, len(seeds)).log_softmax(1)
        classes = (
            log_probs.argmax(1) if temperature == 0 else draw(tempered(log_probs, temperature), uniform(seeds, "class"))
        )
        return Samples(classes, log_probs=log_probs.gather(1, classes[:, None])[:, 0])
