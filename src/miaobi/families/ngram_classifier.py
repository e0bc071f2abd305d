"""Classification by counting: the floor under every learned classifier of texts.

Multinomial naive Bayes (McCallum and Nigam 1998, "A comparison of event models for naive Bayes text classification")
over runs of 1 to n tokens, each kept by a hash (Weinberger et al. 2009, "Feature hashing for large scale multitask
learning"). Learns in one pass; nothing is optimised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports, refuse_prefix
from miaobi.networks import Network
from miaobi.sampling.noise import derive
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec

_MOST_NUMBERS = 1 << 28
"""Buckets times classes: 2 GiB."""


class NgramClassifier(Family):
    """How often each run of tokens was seen in each class, and how often each class. An absent text says nothing.

    A class's probability is its prior times the product of its runs' probabilities: a run's count in the class plus
    ``smoothing``, over all of the class's plus ``smoothing`` for each run that any class has. One that none has says
    nothing. The runs of one text depend on each other, which
    the product ignores, so its probabilities are too sure of themselves though its best guess is often right.
    """

    class Config(FamilyConfig):
        """What is counted."""

        condition_drop: float = Value(0.0, ge=0, le=0, description="nothing is dropped")
        order: int = Value(2, ge=1, le=8, description="longest run of tokens that is counted")
        buckets: int = Value(1 << 20, ge=2, le=1 << 24, description="places that runs are hashed to")
        smoothing: float = Value(0.1, gt=0, le=100, description="added to every count (Lidstone's; 1: Laplace's)")

    class Controls(_base.Controls):
        """There is nothing to say: a sample is the best guess."""

    targets = frozenset({Form.LABEL})
    roles: ClassVar[dict[str, str]] = {}
    tiny: ClassVar[dict[str, Any]] = {"buckets": 1 << 12}
    counts: Tensor
    classes: Tensor

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.read = _texts(conditions)
        _check_size(config.buckets, target.vocabulary)
        self.register_buffer("counts", torch.zeros(config.buckets, target.vocabulary, dtype=torch.int64))
        self.register_buffer("classes", torch.zeros(target.vocabulary, dtype=torch.int64))

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        _texts(conditions)
        _check_size(config.buckets, target.vocabulary)
        return {}

    @classmethod
    def metric(cls, form: Form) -> str:
        return "accuracy"

    def phases(self) -> list[Phase]:
        return []

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        raise Unsupported("ngram_classifier has no loss", given=f"phase {phase!r}", cure="call observe: it counts")

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Count a batch."""
        labels = batch.target.values
        for buckets, real in self._runs(batch.conditions):
            rows, _ = real.nonzero(as_tuple=True)
            places = buckets[real] * self.target.vocabulary + labels[rows]
            self.counts.view(-1).index_add_(0, places, torch.ones_like(places))
        self.classes.index_add_(0, labels, torch.ones_like(labels))

    @torch.no_grad()
    def predict(self, conditions: dict[str, Field]) -> Tensor:
        """Log-probabilities ``[B, classes]`` float32."""
        smoothing = self.config.smoothing
        known = self.counts.any(1)
        totals = (self.counts.sum(0) + smoothing * known.sum()).double().log()
        prior = (self.classes + smoothing).double().log()
        rows = len(next(iter(conditions.values())))
        scores = prior.expand(rows, -1)
        for buckets, real in self._runs(conditions):
            seen = (self.counts[buckets] + smoothing).double().log() - totals
            scores = scores + torch.where((real & known[buckets])[..., None], seen, 0.0).sum(1)
        return scores.log_softmax(1).float()

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """Exact, of each item's class; ``seeds`` are not needed."""
        nats = -self.predict(batch.conditions).gather(1, batch.target.values[:, None])[:, 0]
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
        """The most likely classes ``[len(seeds)]`` int64, with their log-probabilities."""
        refuse_prefix(prefix, "a classifier")
        best = self.predict(conditions).max(1)
        return Samples(best.indices, log_probs=best.values)

    def _runs(self, conditions: Mapping[str, Field]) -> list[tuple[Tensor, Tensor]]:
        """The bucket of each run of each length in each text, and which runs there are, both ``[B, L]``."""
        found = []
        for number, name in enumerate(self.read):
            if name not in conditions:
                continue
            field = conditions[name]
            values, real = field.values, field.mask() & field.is_present()[:, None]
            keys = torch.full_like(values, number)
            for length in range(1, min(self.config.order, values.shape[1]) + 1):
                last = values.shape[1] - length + 1
                keys = derive(keys[:, :last] * 3 + length, "run") ^ values[:, length - 1 :]
                mixed = derive(keys, "bucket") & 0x7FFFFFFFFFFFFFFF
                found.append((mixed % self.config.buckets, real[:, length - 1 :]))
        return found


def _texts(conditions: Mapping[str, Spec]) -> list[str]:
    found = sorted(name for name, spec in conditions.items() if spec.form is Form.TOKENS)
    if not found:
        raise Unsupported("there is no text to count", given=sorted(conditions), cure="name one in data.condition")
    return found


def _check_size(buckets: int, classes: int) -> None:
    if buckets * classes > _MOST_NUMBERS:
        allowed = 1 << int(math.log2(_MOST_NUMBERS // classes))
        raise Unsupported(
            "the table of counts is too large",
            given=f"{buckets:,} buckets of {classes:,} classes",
            allowed=f"{allowed:,} buckets",
            cure="lower model.options.buckets",
        )
