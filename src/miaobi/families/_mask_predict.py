"""Filling gaps in turns.

Ghazvininejad et al. 2019, "Mask-predict: parallel decoding of conditional masked language models".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from miaobi.sampling import logits as shaping
from miaobi.sampling.noise import uniform

Predict = Callable[[Tensor, Tensor], Tensor]
"""``(values [B, L], gaps [B, L]) -> logits [N, V]`` at the ``N`` gaps, row by row."""


def mask_predict(predict: Predict, values: Tensor, gaps: Tensor, controls: Any, seeds: Tensor) -> Tensor:
    """``values [B, L]`` with tokens drawn where ``gaps [B, L]``.

    Each turn predicts every open gap, then opens again the tokens that were least sure when they were drawn: of n gaps
    there are n (T - t) / T open in turn t of T. Each item's gaps depend on its own seed alone.

    Args:
        predict: the network.
        values: what stands outside the gaps; inside it is not looked at.
        gaps: what is to be drawn.
        controls: ``steps``, ``temperature``, ``top_k`` and ``top_p``.
        seeds: ``[B]``.
    """
    count, open_ = gaps.sum(1), gaps
    sure = torch.full(values.shape, float("inf"), device=values.device)
    for turn in range(controls.steps):
        if not bool(open_.any()):
            break
        drawn = uniform(seeds, f"turn:{turn}", values.shape[1:])[open_]
        tokens, log_probs = _draw(predict(values, open_), drawn, controls)
        values, sure = values.masked_scatter(open_, tokens), sure.masked_scatter(open_, log_probs)
        left = count * (controls.steps - turn - 1) // controls.steps
        # Ranks among the row's gaps, the least sure first; what is no gap is sure beyond measure.
        ranks = sure.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
        open_ = gaps & (ranks < left[:, None])
    return values


def _draw(logits: Tensor, drawn: Tensor, controls: Any) -> tuple[Tensor, Tensor]:
    """Tokens ``[N]`` and their log-probabilities ``[N]`` before any control."""
    tokens = logits.argmax(-1) if controls.temperature == 0 else shaping.draw(_shaped(logits, controls), drawn)
    return tokens, logits.log_softmax(-1).gather(1, tokens[:, None])[:, 0]


def _shaped(logits: Tensor, controls: Any) -> Tensor:
    shaped = shaping.tempered(logits, controls.temperature)
    rows = torch.ones(len(logits), device=logits.device)
    if controls.top_k is not None:
        shaped = shaping.keep_top_k(shaped, rows.long() * controls.top_k)
    return shaping.keep_top_p(shaped, rows * controls.top_p) if controls.top_p < 1 else shaped
