"""Sampling that a gradient passes through: Gumbel-softmax, straight-through.

Jang, Gu and Poole 2017, "Categorical reparameterization with Gumbel-softmax"; Maddison et al. 2017, "The concrete
distribution". Forward, an item is the tokens that were drawn; backward, each is a softmax at a temperature.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from miaobi.families._layout import Layout, Piece
from miaobi.networks import TokenNetwork
from miaobi.sampling.logits import NEVER
from miaobi.sampling.noise import derive, uniform

_LARGEST = 1 - 2**-24
"""The largest float32 below one: the logarithm of one would make a token certain, whatever its probability."""


class Unrolled(NamedTuple):
    """Whole sequences as a discriminator reads them: one-hot rows ``[B, L, V]``, and ``[B, L]`` what was drawn."""

    rows: Tensor
    drawn: Tensor


class _Writing(Protocol):
    """A network that writes: ``logits [B, V]`` of what comes next, and `feed` what was chosen, ``[B, V]``."""

    logits: Tensor

    def feed(self, chosen: Tensor) -> None: ...


def unroll(network: TokenNetwork, layout: Layout, head: Piece, seeds: Tensor, temperature: float) -> Unrolled:
    """Draw one item a seed, differentiable in the network's parameters.

    Args:
        network: the writer.
        layout: of its sequences; not of a stream.
        head: what stands before the target, real tokens first (`Layout.head`).
        seeds: ``[B]``.
        temperature: of the softmax that the gradient sees, above 0; what is drawn does not depend on it.
    """
    length = layout.target.max_length
    writing = writer(network, layout, head, length)
    alive = torch.ones(len(seeds), dtype=torch.bool, device=seeds.device)
    chosen, drawn = [], []
    for place in range(length):
        row = _choose(drawable(layout, writing.logits), derive(seeds, "gumbel", place), temperature)
        row = F.pad(row, (0, layout.vocabulary - row.shape[1])) * alive[:, None]
        chosen.append(row)
        drawn.append(alive)
        if layout.end is not None:
            alive = alive & (row.detach()[:, layout.end] < 0.5)
        if place + 1 == length or not alive.any():
            break
        writing.feed(row)
    if layout.end is not None:
        # An item as long as may be ends without having drawn its end; data is shown so too.
        chosen.append(alive[:, None] * _one_hot(torch.full_like(seeds, layout.end), layout.vocabulary))
        drawn.append(alive)
    return _join(head, torch.stack(chosen, 1), torch.stack(drawn, 1))


def drawable(layout: Layout, logits: Tensor) -> Tensor:
    """``[..., V]`` to float32 logits of what the decoding engine would draw from."""
    logits = layout.outputs.restrict(logits)
    unknown = layout.outputs.unknown
    if unknown is None:
        return logits
    return logits.index_fill(-1, torch.tensor([unknown], device=logits.device), NEVER)


def writer(network: TokenNetwork, layout: Layout, head: Piece, length: int) -> _Writing:
    """``network`` about to write ``length`` tokens after ``head``: step by step where its steps carry gradients."""
    if network.differentiable:
        return _Stepping(network, head, length)
    return _Rereading(network, layout, head, length)


class _Stepping:
    def __init__(self, network: TokenNetwork, head: Piece, length: int) -> None:
        tokens, real = head
        self._network = network
        self._cache = network.new_cache(len(tokens), tokens.shape[1] + length)
        self.logits = network.prefill(tokens, real.sum(1), self._cache)

    def feed(self, chosen: Tensor) -> None:
        self.logits = self._network.step(chosen, self._cache)


class _Rereading:
    """Reads everything again for every token: any network, at a cost that grows with the square of the length."""

    def __init__(self, network: TokenNetwork, layout: Layout, head: Piece, length: int) -> None:
        tokens, real = head
        self._network = network
        self._rows = F.pad(_one_hot(tokens, layout.vocabulary) * real[..., None], (0, 0, 0, length))
        self._lengths = real.sum(1)
        self._read()

    def feed(self, chosen: Tensor) -> None:
        here = self._lengths[:, None] == torch.arange(self._rows.shape[1], device=chosen.device)
        self._rows = self._rows + here[..., None] * chosen[:, None]
        self._lengths = self._lengths + 1
        self._read()

    def _read(self) -> None:
        hidden = self._network(self._rows[:, : int(self._lengths.max())], logits=False)
        last = hidden[torch.arange(len(hidden), device=hidden.device), self._lengths - 1]
        self.logits = F.linear(last, self._network.head)


def _choose(logits: Tensor, seeds: Tensor, temperature: float) -> Tensor:
    """A one-hot row ``[B, S]`` each, drawn from the softmax of ``logits [B, S]``; its gradient is a softer one's."""
    numbers = uniform(seeds, "noise", logits.shape[1:]).clamp(max=_LARGEST)
    noisy = logits.log_softmax(-1) - (-numbers.log()).log()
    soft = (noisy / temperature).softmax(-1)
    return _one_hot(noisy.argmax(-1), logits.shape[1]) + soft - soft.detach()


def _join(head: Piece, chosen: Tensor, drawn: Tensor) -> Unrolled:
    """What was drawn, right after each row's own head."""
    tokens, real = head
    before = _one_hot(tokens, chosen.shape[2]) * real[..., None]
    places = real.sum(1, keepdim=True) + torch.arange(chosen.shape[1], device=chosen.device)
    rows = F.pad(before, (0, 0, 0, chosen.shape[1]))
    rows = rows.scatter_add(1, places[..., None].expand_as(chosen), chosen)
    shown = torch.zeros(rows.shape[:2], dtype=torch.bool, device=rows.device)
    return Unrolled(rows, shown.scatter(1, places, drawn))


def _one_hot(tokens: Tensor, size: int) -> Tensor:
    return F.one_hot(tokens, size).float()
