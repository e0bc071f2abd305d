"""Smoothed n-grams: the classical floor under every neural language model.

Counts of short token sequences, interpolated from long contexts to short ones (Witten and Bell 1991, "The
zero-frequency problem"; Chen and Goodman 1999 compare the methods). Learns in one pass; nothing is optimised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar, Self

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._counts import NONE, Counts
from miaobi.families._guidance import require_guidable
from miaobi.families._layout import Layout
from miaobi.families._token_requests import TokenEngine, complete, gather, make_requests
from miaobi.networks import Network
from miaobi.sampling.beam import BeamControls
from miaobi.sampling.decoding import Engine, Request
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec

MAX_LABELS = 1 << 16


class NGram(Family):
    """Items start from begin tokens; windows of a stream from nothing. An absent label falls back to all labels."""

    class Config(FamilyConfig):
        """How far it looks back."""

        order: int = Value(4, ge=1, le=12, description="longest sequence counted; contexts are one shorter")
        unconditional: bool = Value(False, description="pay no regard to conditions: the floor of models that do")

    class Controls(BeamControls, _base.Controls):
        """How tokens are drawn or searched for."""

    targets = frozenset({Form.TOKENS})
    roles: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.layout = Layout(target, {} if config.unconditional else conditions)
        self.radices = [spec.vocabulary for spec in self.layout.conditions.values()]
        labels = _combinations(self.radices) if self.radices else 0
        self.counts = Counts(config.order, self.layout.vocabulary, self.layout.outputs, labels)

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        conditions = {} if config.unconditional else conditions
        Layout(target, conditions)
        for name, spec in conditions.items():
            if spec.form is not Form.LABEL:
                raise Unsupported(
                    f"ngram takes labels only, and condition {name!r} is not one",
                    given=str(spec.form),
                    cure="leave the condition out, set model.options.unconditional, or choose autoregressive",
                )
        _combinations([spec.vocabulary for spec in conditions.values()])
        return {}

    @classmethod
    def metric(cls, form: Form) -> str:
        return "likelihood"

    def phases(self) -> list[Phase]:
        return []

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        raise Unsupported("ngram has no loss", given=f"phase {phase!r}", cure="call observe: it learns by counting")

    @torch.no_grad()
    def observe(self, batch: Batch) -> None:
        """Count a batch."""
        tokens, real, predicted = self._sequences(batch)
        self.counts.add(tokens, real, predicted, self._labels(batch.conditions, len(batch)))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """Exact; ``seeds`` are not needed."""
        tokens, real, predicted = self._sequences(batch)
        labels = self._labels(batch.conditions, len(batch))
        nats = -self.counts.probabilities(tokens, real, labels).log()
        return Bound(nats.masked_fill(~predicted, 0).sum(1).float(), exact=True, predicted=predicted.sum(1))

    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Controls | None = None,
        seeds: Tensor,
    ) -> Samples:
        """Items with their prefix, without begin and end; ``log_probs`` are of what was drawn, before any control."""
        controls = controls or self.Controls()
        requests = self.requests(conditions, prefix, lengths, controls, seeds)
        drawn = complete(_Stepper(self), self.layout.outputs, requests)
        return gather(self.layout, requests, drawn, self.device)

    def engine(self, slots: int) -> TokenEngine:
        """The decoding engine, for streaming and serving."""
        engine = Engine(_Stepper(self), self.layout.outputs, slots=slots)
        return TokenEngine(self.layout, engine, self.tokenizer, self.requests)

    def stream(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        controls: Controls | None = None,
        seed: int,
    ) -> Iterator[str]:
        """The text of one item as it is drawn, without its prefix; see `TokenEngine.stream`."""
        return self.engine(1).stream(conditions, prefix=prefix, controls=controls or self.Controls(), seed=seed)

    def requests(
        self,
        conditions: Mapping[str, Field],
        prefix: Field | None,
        lengths: Tensor | None,
        controls: Controls,
        seeds: Tensor,
    ) -> list[Request]:
        """What the engine is asked for, one request a seed; what an absent label falls back to is counted anyway."""
        conditions = {} if self.config.unconditional else conditions
        require_guidable(self.layout.conditions, 1.0, controls.guidance)
        return make_requests(self.layout, conditions, prefix, lengths, controls, seeds, self.tokenizer, self.rules)

    def combine(self, labels: Tensor) -> Tensor:
        """One number a row for labels ``[B, conditions]``, `NONE` where any is absent (negative)."""
        result = torch.zeros(len(labels), dtype=torch.int64, device=labels.device)
        for index, radix in enumerate(self.radices):
            result = result * radix + labels[:, index]
        absent = (labels < 0).any(1) if self.radices else torch.ones_like(result, dtype=torch.bool)
        return result.masked_fill(absent, NONE)

    def _labels(self, conditions: Mapping[str, Field], rows: int) -> Tensor:
        columns = []
        for name in self.layout.slots:
            field = conditions.get(name)
            absent = torch.full((rows,), NONE, device=self.device)
            columns.append(absent if field is None else torch.where(field.is_present(), field.values, absent))
        return self.combine(torch.stack(columns, 1) if columns else torch.zeros(rows, 0, device=self.device))

    def _sequences(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Begin tokens (as many as a context holds), the target and its end: tokens, real, predicted, ``[B, L]``."""
        tokens, weight = self.layout.sequence(Batch(batch.target))
        heads = 2 * len(self.radices) + (self.layout.begin is not None)
        ends = batch.target.mask().sum(1) + (self.layout.end is not None)
        tokens, predicted = tokens[:, heads:], weight[:, heads:] > 0
        real = torch.arange(tokens.shape[1], device=tokens.device) < ends[:, None]
        if self.layout.begin is None:
            return tokens, real, predicted
        padding = torch.full((len(tokens), self.config.order - 1), self.layout.begin, device=tokens.device)
        there = torch.ones_like(padding, dtype=torch.bool)
        return torch.cat([padding, tokens], 1), torch.cat([there, real], 1), torch.cat([~there, predicted], 1)


class _Stepper:
    """Counts as the engine sees a network: the state of a row is its last tokens and its label."""

    limit: int | None = None

    def __init__(self, family: NGram) -> None:
        self.family = family
        self.width = family.config.order - 1

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> _History:
        begin = self.family.layout.begin
        start = NONE if begin is None else begin
        history = torch.full((rows, self.width), start, device=self.family.device)
        lengths = torch.zeros(rows, dtype=torch.int64, device=history.device)
        return _History(history, torch.full((rows,), NONE, device=history.device), lengths, start)

    @torch.no_grad()
    def prefill(self, tokens: Tensor, lengths: Tensor, cache: _History) -> Tensor:
        layout = self.family.layout
        slots = list(layout.slots.values())
        heads = 2 * len(slots) + (layout.begin is not None)
        given = [tokens[:, 2 * index + 1] - slot.offset for index, slot in enumerate(slots)]
        cache.labels = self.family.combine(torch.stack(given, 1) if given else tokens[:, :0])
        joined = torch.cat([cache.history, tokens[:, heads:]], 1)
        places = (lengths - heads)[:, None] + torch.arange(self.width, device=tokens.device)
        cache.history, cache.lengths = joined.gather(1, places), cache.lengths + lengths
        return self._logits(cache)

    @torch.no_grad()
    def step(self, tokens: Tensor, cache: _History) -> Tensor:
        cache.history = torch.cat([cache.history, tokens[:, None]], 1)[:, 1:]
        cache.lengths = cache.lengths + 1
        return self._logits(cache)

    def _logits(self, cache: _History) -> Tensor:
        real = cache.history != NONE
        history = cache.history.clamp(min=0)
        return self.family.counts.next_probabilities(history, real, cache.labels).log()


class _History:
    """Rows' last tokens ``[rows, order - 1]`` (``start`` before their first), labels and lengths ``[rows]``."""

    def __init__(self, history: Tensor, labels: Tensor, lengths: Tensor, start: int) -> None:
        self.history, self.labels, self.lengths, self.start = history, labels, lengths, start

    def select(self, rows: Tensor) -> Self:
        return type(self)(self.history[rows], self.labels[rows], self.lengths[rows], self.start)

    def join(self, other: Self) -> Self:
        history, labels = torch.cat([self.history, other.history]), torch.cat([self.labels, other.labels])
        return type(self)(history, labels, torch.cat([self.lengths, other.lengths]), self.start)

    def empty(self, rows: int, span: int) -> Self:
        history = self.history.new_full((rows, self.history.shape[1]), self.start)
        return type(self)(history, self.labels.new_full((rows,), NONE), self.lengths.new_zeros(rows), self.start)


def _combinations(radices: list[int]) -> int:
    total = 1
    for radix in radices:
        total *= radix
    if total > MAX_LABELS:
        raise Unsupported(
            "ngram counts every combination of labels apart",
            given=total,
            allowed=f"at most {MAX_LABELS}",
            cure="condition on fewer labels",
        )
    return total
