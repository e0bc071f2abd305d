"""Cross-entropy of a linear head without holding every logit.

The logits of a batch outweigh everything else as soon as the vocabulary is large. Rows are taken a chunk at a time, and
their gradients are made at once while the chunk's logits are at hand (Hsu et al. 2024, "Liger kernel").
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 1 << 22
"""Logits of a chunk, in numbers: 16 MiB of float32."""


def head_loss(
    hidden: Tensor, head: Tensor | None, targets: Tensor, weight: Tensor, smoothing: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Weighted sums over tokens, in nats.

    Args:
        hidden: ``[N, D]``; without a head, logits ``[N, V]``.
        head: ``[V, D]``.
        targets: ``[N]`` int64.
        weight: ``[N]`` float32.
        smoothing: share of the target probability spread over the vocabulary (Szegedy et al. 2016).

    Returns:
        The smoothed cross-entropy, differentiable in ``hidden`` and ``head``, and the plain one, detached.
    """
    if head is None:
        return _logit_loss(hidden, targets, weight.float(), smoothing)
    if torch.is_autocast_enabled(hidden.device.type):
        dtype = torch.get_autocast_dtype(hidden.device.type)
        hidden, head = hidden.to(dtype), head.to(dtype)
    chunk = max(1, CHUNK_ELEMENTS // head.shape[0])
    total, nats = _HeadLoss.apply(hidden, head, targets, weight.float(), smoothing, chunk)  # type: ignore[no-untyped-call]
    return total, nats.detach()


def token_nats(hidden: Tensor, head: Tensor | None, targets: Tensor, banned: int | None = None) -> Tensor:
    """Negative log-likelihoods ``[N]`` float32 of ``targets [N]`` among ``head``, ``banned`` being impossible.

    Without a head, ``hidden`` are logits. Differentiable; the logits are then made a second time going backward.
    """
    parts = [
        checkpoint(_chunk_nats, rows, head, wanted, banned, use_reentrant=False, preserve_rng_state=False)
        if torch.is_grad_enabled()
        else _chunk_nats(rows, head, wanted, banned)
        for rows, wanted in zip(hidden.split(_rows(hidden, head)), targets.split(_rows(hidden, head)), strict=True)
    ]
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=torch.float32)


@torch.no_grad()
def token_divergence(
    one: tuple[Tensor, Tensor | None], other: tuple[Tensor, Tensor | None], banned: int | None = None
) -> Tensor:
    """``KL(one || other)`` in nats ``[N]`` float32 of what two models say of the next token.

    Args:
        one: ``[N, D]`` and a head ``[V, D]``, or logits ``[N, V]`` and ``None``.
        other: likewise.
        banned: a token that is impossible in both.
    """
    rows = min(_rows(*one), _rows(*other))
    parts = []
    for mine, theirs in zip(one[0].split(rows), other[0].split(rows), strict=True):
        log_probs, others = (
            _logits(h, head, banned).log_softmax(-1) for h, head in ((mine, one[1]), (theirs, other[1]))
        )
        difference = log_probs - others
        if banned is not None:
            difference[:, banned] = 0.0
        parts.append((log_probs.exp() * difference).sum(-1))
    return torch.cat(parts) if parts else one[0].new_zeros(0, dtype=torch.float32)


def _rows(hidden: Tensor, head: Tensor | None) -> int:
    return max(1, CHUNK_ELEMENTS // (hidden.shape[1] if head is None else head.shape[0]))


def _logits(hidden: Tensor, head: Tensor | None, banned: int | None) -> Tensor:
    logits = hidden.float() if head is None else F.linear(hidden, head.to(hidden.dtype)).float()
    if banned is None:
        return logits
    return logits.index_fill(1, torch.tensor([banned], device=logits.device), float("-inf"))


def _chunk_nats(hidden: Tensor, head: Tensor | None, targets: Tensor, banned: int | None) -> Tensor:
    return F.cross_entropy(_logits(hidden, head, banned), targets, reduction="none")


def _logit_loss(logits: Tensor, targets: Tensor, weight: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    log_probs = logits.float().log_softmax(-1)
    nats = -(log_probs.gather(1, targets[:, None])[:, 0] * weight).sum()
    spread = -(log_probs.mean(1) * weight).sum()
    return (1 - smoothing) * nats + smoothing * spread, nats.detach()


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        hidden, head, targets, weight, smoothing, chunk = inputs
        hidden_grad = torch.empty_like(hidden)
        # A head that is frozen has no use for a gradient as large as itself.
        head_grad = torch.zeros_like(head, dtype=torch.float32) if ctx.needs_input_grad[1] else None
        total = weight.new_zeros(())
        nats = weight.new_zeros(())
        for start in range(0, len(targets), chunk):
            rows = slice(start, start + chunk)
            log_probs = F.linear(hidden[rows], head).float().log_softmax(-1)
            own = -log_probs.gather(1, targets[rows, None])[:, 0]
            # Not as matrix products, which autocast would round.
            nats += (own * weight[rows]).sum()
            total -= smoothing * (log_probs.mean(1) * weight[rows]).sum()
            grad = _logit_grad(log_probs, targets[rows], weight[rows], smoothing).to(hidden.dtype)
            torch.mm(grad, head, out=hidden_grad[rows])
            if head_grad is not None:
                head_grad += grad.T @ hidden[rows]
        total += (1 - smoothing) * nats
        ctx.save_for_backward(hidden_grad, *([] if head_grad is None else [head_grad]))
        ctx.mark_non_differentiable(nats)
        return total, nats

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, *head_grad = ctx.saved_tensors
        scale = grads[0]
        return (
            hidden_grad * scale.to(hidden_grad.dtype),
            (head_grad[0] * scale).to(hidden_grad.dtype) if head_grad else None,
            None,
            None,
            None,
            None,
        )


def _logit_grad(log_probs: Tensor, targets: Tensor, weight: Tensor, smoothing: float) -> Tensor:
    """Gradient of the weighted loss with respect to logits; reuses ``log_probs``."""
    grad = log_probs.exp_()
    grad -= smoothing / grad.shape[1]
    grad.scatter_add_(1, targets[:, None], torch.full_like(weight, smoothing - 1)[:, None])
    return grad.mul_(weight[:, None])
