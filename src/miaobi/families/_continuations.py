"""How probable given continuations are after given prompts, with what prompts have in common computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from miaobi.networks import TokenNetwork

_PROMPTS = 16
"""Prompts that are fed at once."""
_ROWS = 64
"""Continuations that are followed at once."""

Tokens = tuple[int, ...]


@torch.no_grad()
def score(
    network: TokenNetwork, prompts: Sequence[Tokens], continuations: Sequence[Tokens], dtype: torch.dtype
) -> Tensor:
    """Log-probabilities ``[prompts, continuations]`` float32, each summed over the continuation's tokens.

    Args:
        network: in evaluation mode.
        prompts: each of at least one token; equal ones are computed once.
        continuations: each of at least one token.
        dtype: least precise arithmetic allowed.
    """
    # Prompts of like length are fed together, because shorter ones are padded.
    distinct = sorted(dict.fromkeys(prompts), key=len)
    shared = common(distinct)
    span = max(map(len, distinct)) + max(map(len, continuations))
    first = network.new_cache(1, span, dtype)
    if shared:
        beginning = torch.tensor([distinct[0][:shared]], device=network.head.device)
        network.prefill(beginning, torch.tensor([shared], device=beginning.device), first)
    parts = [
        _score(network, [prompt[shared:] for prompt in distinct[start : start + _PROMPTS]], continuations, first, span)
        for start in range(0, len(distinct), _PROMPTS)
    ]
    places = {prompt: place for place, prompt in enumerate(distinct)}
    return torch.cat(parts)[[places[prompt] for prompt in prompts]]


def common(prompts: Sequence[Tokens]) -> int:
    """How many tokens all begin with, short of the shortest."""
    least = min(map(len, prompts)) - 1
    return next((at for at in range(least) if len({prompt[at] for prompt in prompts}) > 1), least)


def _score(
    network: TokenNetwork, prompts: Sequence[Tokens], continuations: Sequence[Tokens], first: Any, span: int
) -> Tensor:
    """`score` of the rest of prompts whose beginning is in the one row of ``first``."""
    device = network.head.device
    rows = torch.zeros(len(prompts), dtype=torch.int64, device=device)
    cache = first.select(rows) if int(first.lengths[0]) else first.empty(len(prompts), span)
    tokens, lengths = _padded(prompts, device)
    logits = network.prefill(tokens, lengths, cache)
    size = max(1, _ROWS // len(prompts))
    parts = [
        _follow(network, continuations[start : start + size], cache, logits)
        for start in range(0, len(continuations), size)
    ]
    return torch.cat(parts, 1)


def _follow(network: TokenNetwork, continuations: Sequence[Tokens], cache: Any, logits: Tensor) -> Tensor:
    """``[rows of the cache, continuations]``; the cache stays as it is."""
    prompts = len(logits)
    rows = torch.arange(prompts, device=logits.device).repeat_interleave(len(continuations))
    cache, logits = cache.select(rows), logits[rows]
    tokens, lengths = (part.repeat(prompts, *[1] * (part.ndim - 1)) for part in _padded(continuations, logits.device))
    total = torch.zeros(len(rows), device=logits.device)
    for place in range(tokens.shape[1]):
        says = logits.float().log_softmax(1).gather(1, tokens[:, place, None])[:, 0]
        total += torch.where(place < lengths, says, 0.0)
        if place + 1 < tokens.shape[1]:
            logits = network.step(tokens[:, place], cache)
    return total.view(prompts, len(continuations))


def _padded(rows: Sequence[Tokens], device: Any) -> tuple[Tensor, Tensor]:
    values = pad_sequence([torch.tensor(row) for row in rows], batch_first=True).to(device)
    return values, torch.tensor([len(row) for row in rows], device=device)
