"""What turns a distribution over the next token into the one that is drawn from: pure functions over ``[R, V]``.

Settings are tensors ``[R]``, one a row, so that requests with different controls share a step. Minus infinity marks a
token that cannot be drawn.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEVER = float("-inf")
COLDEST = 1e-30
"""Temperatures below count as this one: a division by them leaves float32."""


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """``logits [..., V]`` under one temperature above 0, the largest at 0."""
    return (logits - logits.amax(-1, keepdim=True)) / max(temperature, COLDEST)


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: Tensor) -> Tensor:
    """Make tokens ``seen [R, V]`` (bool) less likely (Keskar et al. 2019, "CTRL").

    Their positive logits are divided and their negative ones multiplied by ``penalty``; 1 changes nothing.
    """
    factor = penalty[:, None]
    return torch.where(seen, torch.where(logits > 0, logits / factor, logits * factor), logits)


def keep_top_k(logits: Tensor, count: Tensor) -> Tensor:
    """Keep the ``count [R]`` (int64, at least 1) most likely tokens, and any that tie with the last of them.

    Fan et al. 2018, "Hierarchical neural story generation".
    """
    best = logits.sort(-1, descending=True).values
    last = best.gather(-1, count.clamp(max=logits.shape[-1])[:, None] - 1)
    return logits.masked_fill(logits < last, NEVER)


def keep_top_p(logits: Tensor, share: Tensor) -> Tensor:
    """Keep the fewest most likely tokens that hold ``share [R]`` of the probability; always at least one.

    Holtzman et al. 2020, "The curious case of neural text degeneration".
    """
    best, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = best.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    drop = before >= share[:, None]
    drop[:, 0] = False
    return logits.masked_fill(torch.zeros_like(drop).scatter(-1, order, drop), NEVER)


def keep_min_p(logits: Tensor, share: Tensor) -> Tensor:
    """Keep tokens at least ``share [R]`` as likely as the most likely one (Nguyen et al. 2024, "Min-p sampling")."""
    floor = logits.amax(-1, keepdim=True) + share[:, None].log()
    return logits.masked_fill(logits < floor, NEVER)


def guide(conditional: Tensor, unconditional: Tensor, scale: Tensor) -> Tensor:
    """Classifier-free guidance on log-probabilities: 1 is the conditional distribution, more follows it more.

    What cannot be drawn with conditions cannot be drawn at all. Ho and Salimans 2022; for text, Sanchez et al. 2023,
    "Stay on topic with classifier-free guidance".
    """
    free = unconditional.log_softmax(-1)
    mixed = free + scale[:, None] * (conditional.log_softmax(-1) - free)
    return mixed.masked_fill(conditional == NEVER, NEVER)


def draw(logits: Tensor, uniform: Tensor) -> Tensor:
    """One token a row, int64 ``[R]``: where the cumulative distribution passes ``uniform [R]`` in (0, 1)."""
    reached = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
    chosen = torch.searchsorted(reached, uniform.double()[:, None] * reached[:, -1:], right=False)
    return chosen[:, 0]
