"""Causal attention over whole sequences, in the way that is fastest for the device and length.

Scaled dot-product attention is Vaswani et al. 2017, "Attention is all you need"; grouped queries are Ainslie et al.
2023, "GQA".
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

PLAIN_UP_TO = 1024
"""On a processor, plain matrix products win up to this length: the flash kernel's backward recomputes serially."""
BLOCK = 128
"""Queries of a block see only the keys before its end, which saves the work above the diagonal."""


class Look(StrEnum):
    """What the positions of an attention see."""

    BACK = "itself and what is before it"
    AROUND = "all of the sequence"
    ACROSS = "what is read"


@runtime_checkable
class Attending(Protocol):
    """A module that attends, and can say how much to what: kernels that are fast keep their weights to themselves."""

    looks: ClassVar[Look]

    def weights(self, *inputs: Any) -> Tensor:
        """``[B, H, L, S]`` for what its ``forward`` takes, without dropout; every row sums to one."""
        ...


def causal_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """``[B, H, L, L]``: how much of each value `causal_attention` takes, for the same arguments."""
    scores = q @ k.repeat_interleave(q.shape[1] // k.shape[1], dim=1).transpose(2, 3)
    seen = torch.ones(scores.shape[2:], dtype=torch.bool, device=q.device).tril() if mask is None else mask[:, None]
    return scores.masked_fill(~seen, float("-inf")).softmax(-1)


def causal_attention(q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Attention of each position to itself and those before it.

    Args:
        q: ``[B, H, L, D]``, already multiplied by ``D ** -0.5``.
        k: ``[B, K, L, D]`` with H a multiple of K.
        v: as ``k``.
        mask: ``[B, L, L]`` bool, true where attention is allowed (causal already), for packed rows.
        dropout: share of attention weights dropped.

    Returns:
        ``[B, H, L, D]``.
    """
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
    if q.device.type == "cpu" and q.shape[2] <= PLAIN_UP_TO:
        return _plain(q, k, v, mask, dropout)
    allowed = None if mask is None else mask[:, None]
    return F.scaled_dot_product_attention(
        q, k, v, attn_mask=allowed, dropout_p=dropout, is_causal=mask is None, scale=1.0
    )


def same_segment(segments: Tensor) -> Tensor:
    """``[B, L, L]`` bool from ``segments [B, L]``: true where a position may see another (own segment, not later)."""
    length = segments.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=segments.device).tril()
    return (segments[:, :, None] == segments[:, None, :]) & causal


def _plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    length = q.shape[2]
    hidden = torch.full((BLOCK, BLOCK), float("-inf"), dtype=q.dtype, device=q.device).triu(1)
    blocks = []
    for start in range(0, length, BLOCK):
        end = min(start + BLOCK, length)
        scores = q[:, :, start:end] @ k[:, :, :end].transpose(2, 3)
        if mask is None:
            scores[..., start:] += hidden[: end - start, : end - start]
        else:
            scores = scores.masked_fill(~mask[:, None, start:end, :end], float("-inf"))
        weights = F.dropout(scores.softmax(-1), dropout) if dropout else scores.softmax(-1)
        blocks.append(weights @ v[:, :, :end])
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=2)
