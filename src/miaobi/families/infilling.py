"""Language models that also fill gaps: part of the items is learnt with the middle moved to the end.

Bavarian et al. 2022, "Efficient training of language models to fill in the middle". The objective, the networks, the
sampling and the likelihood are those of `Autoregressive`: a plain sequence keeps its exact likelihood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from miaobi.errors import RequestError, Unsupported
from miaobi.families import autoregressive
from miaobi.families._gapped import GappedLayout, Order
from miaobi.families._token_requests import complete, gather
from miaobi.sampling.decoding import Request
from miaobi.sampling.noise import uniform
from miaobi.types import Batch, Field, Loss, Samples, Spec


class Infilling(autoregressive.Autoregressive):
    """`Autoregressive` that can put a middle of any length between a prefix and a suffix."""

    class Config(autoregressive.Autoregressive.Config):
        """Options of the objective."""

        infill_rate: float = Value(0.5, ge=0, le=1, description="share of items learnt with their middle last")
        suffix_first: float = Value(0.5, ge=0, le=1, description="share of those whose suffix stands before the prefix")

    class Controls(autoregressive.Autoregressive.Controls):
        """How tokens are drawn or searched for."""

    fills_any_length = True
    layout: GappedLayout

    @classmethod
    def lay_out(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> GappedLayout:
        if config.template is not None:
            raise Unsupported("infilling has marks of its own, which no template has", cure="leave model.prompt out")
        return GappedLayout(target, conditions)

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """As `Autoregressive`'s, ``infill_rate`` of the items with their middle last; both cuts are uniform."""
        batch = self.drop_conditions(batch, seeds)
        sequences = self.layout.gapped(batch, self._orders(seeds), *_cuts(batch.target, seeds))
        return self._loss(*self._read(*sequences, packing=self.config.packing))

    @torch.no_grad()
    def edit(self, batch: Batch, mask: Tensor, *, controls: Any = None, seeds: Tensor) -> Samples:
        """Items with what ``mask`` marks replaced; ``log_probs`` are of the middles, before any control.

        Args:
            batch: items and their conditions.
            mask: ``[B, L]`` bool: one run of tokens an item, in whose place a middle of any length is put.
            controls: ``max_length`` and ``min_length`` are the whole item's; penalties look at the middle alone.
            seeds: ``[B]``.

        Raises:
            RequestError: no run or several in an item, an item too long to put a token in, stop strings, or rules.
        """
        controls = controls or self.Controls()
        _check(controls)
        sides = [_sides(*row) for row in zip(*_lists(batch.target, mask), strict=True)]
        prefix = _padded([before for before, _ in sides])
        suffixes = [after for _, after in sides]
        with autoregressive.evaluating(self.network):
            plain = self.requests(batch.conditions, prefix, None, controls, seeds)
            asked = [self._around(one, after) for one, after in zip(plain, suffixes, strict=True)]
            drawn = complete(self.network, self.layout.outputs, asked, self.precision)
        made = gather(self.layout, plain, drawn, self.device)
        begun = [row[:length] for row, length in zip(made.values.tolist(), made.lengths.tolist(), strict=True)]  # type: ignore[union-attr]
        whole = _padded([row + after for row, after in zip(begun, suffixes, strict=True)])
        return Samples(whole.values, whole.lengths, made.log_probs).to(self.device)

    def _orders(self, seeds: Tensor) -> Tensor:
        """`Order` of each item ``[B]``."""
        gapped = uniform(seeds, "infill") < self.config.infill_rate
        suffix_first = uniform(seeds, "suffix_first") < self.config.suffix_first
        order = torch.where(suffix_first, int(Order.SUFFIX_FIRST), int(Order.PREFIX_FIRST))
        return torch.where(gapped, order, int(Order.PLAIN))

    def _around(self, request: Request, suffix: list[int]) -> Request:
        """A request for what follows a prefix as one for what stands between it and a suffix."""
        room = request.limit - len(suffix)
        if room < 1:
            raise RequestError(
                "the text leaves no room for a token in its gap",
                given=f"{len(request.tokens) - request.head + len(suffix)} tokens",
                allowed=f"fewer than max_length = {request.limit + len(request.tokens) - request.head}",
                cure="shorten the text around the gap or raise the control max_length",
            )
        prefix = request.tokens[request.head :]
        # Of the orders the one that it has learnt more of.
        order = Order.SUFFIX_FIRST if self.config.suffix_first >= 0.5 else Order.PREFIX_FIRST

        def opened(tokens: tuple[int, ...]) -> tuple[int, ...]:
            head = tokens[: len(tokens) - len(prefix)]
            return tuple(self.layout.opened(head, prefix, suffix, order))

        tokens = opened(request.tokens)
        free = None if request.free is None else opened(request.free)
        shortest = max(0, request.shortest - len(suffix))
        return replace(request, tokens=tokens, head=len(tokens), limit=room, free=free, shortest=shortest)


def _check(controls: Any) -> None:
    """Refuse what does not know of the suffix."""
    if controls.stop:
        cure = "leave stop out: the model says itself where a middle ends"
        raise RequestError("a stop string would end the item before its suffix", given=controls.stop, cure=cure)
    if controls.rules:
        cure = "leave rules out"
        raise RequestError("rules are of what stands before a token, and a gap has a suffix", given=True, cure=cure)


def _cuts(target: Field, seeds: Tensor) -> tuple[Tensor, Tensor]:
    """Where each item's middle begins and ends ``[B]``: two places, each before or after any token."""
    places = target.mask().sum(1) + 1
    drawn = (uniform(seeds, "cuts", (2,)) * places[:, None]).long().minimum(places[:, None] - 1)
    return drawn.amin(1), drawn.amax(1)


def _lists(target: Field, mask: Tensor) -> tuple[list[list[int]], list[list[bool]]]:
    """Each item's tokens, and which of them are marked."""
    lengths = target.mask().sum(1).tolist()
    values, marked = target.values.tolist(), mask.tolist()
    return [row[:n] for row, n in zip(values, lengths, strict=True)], [
        row[:n] for row, n in zip(marked, lengths, strict=True)
    ]


def _sides(tokens: list[int], marked: list[bool]) -> tuple[list[int], list[int]]:
    """What stands before and after the one run that is marked."""
    places = [place for place, mark in enumerate(marked) if mark]
    if not places or places[-1] - places[0] + 1 != len(places):
        raise RequestError(
            "one gap is filled at a time",
            given="no gap" if not places else "several gaps",
            allowed="one run of tokens to be made anew",
        )
    return tokens[: places[0]], tokens[places[-1] + 1 :]


def _padded(rows: list[list[int]]) -> Field:
    tensors = [torch.tensor(row, dtype=torch.int64) for row in rows]
    return Field(pad_sequence(tensors, batch_first=True), lengths=torch.tensor([len(row) for row in rows]))
