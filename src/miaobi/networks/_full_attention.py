"""Attention of every position to every other, in the way that is fastest for the device and length.

Vaswani et al. 2017, "Attention is all you need".
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from miaobi.networks._attention import PLAIN_UP_TO


def full_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Attention without order.

    Args:
        q: ``[B, H, L, D]``, already multiplied by ``D ** -0.5``.
        k: ``[B, H, S, D]``.
        v: as ``k``.
        mask: ``[B, S]`` bool, true at keys that may be seen; every row sees one at least.
        dropout: share of attention weights dropped.

    Returns:
        ``[B, H, L, D]``.
    """
    allowed = None if mask is None else mask[:, None, None]
    if q.device.type == "cpu" and max(q.shape[2], k.shape[2]) <= PLAIN_UP_TO:
        scores = q @ k.transpose(2, 3)
        if allowed is not None:
            scores = scores.masked_fill(~allowed, float("-inf"))
        weights = F.dropout(scores.softmax(-1), dropout) if dropout else scores.softmax(-1)
        return weights @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=dropout, scale=1.0)


def full_weights(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """``[B, H, L, S]``: how much of each value `full_attention` takes, for the same arguments."""
    scores = q @ k.transpose(2, 3)
    return (scores if mask is None else scores.masked_fill(~mask[:, None, None], float("-inf"))).softmax(-1)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``[B, L, H * D]`` to ``[B, H, L, D]``."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """The inverse of `split_heads`."""
    return x.transpose(1, 2).flatten(2)


def divisor(number: int, at_most: int) -> int:
    """The largest divisor of ``number`` that is no more than ``at_most``, and at least 1."""
    return next(part for part in range(max(1, min(at_most, number)), 0, -1) if number % part == 0)
