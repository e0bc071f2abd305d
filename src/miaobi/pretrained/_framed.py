"""Framed sequences (`miaobi.families._frame.Frame`) as a published model was taught to read texts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Framed:
    """What a published model reads.

    Attributes:
        tokens: ``[B, S]`` int64, of the model's own numbers.
        real: ``[B, S]`` bool; the real ones come first.
        places: ``[B, L]`` int64: where each position of the framed sequence stands.
    """

    tokens: Tensor
    real: Tensor
    places: Tensor


def framed(
    x: Tensor, real: Tensor, before: tuple[int, ...], after: tuple[int, ...], mask: tuple[int, int], padding: int
) -> Framed:
    """Rewrite sequences ``x [B, L]`` between a start and an end, of which ``real [B, L]`` counts.

    Start and end become the model's own special tokens, however many. Where there are none of them, start and end stand
    where their neighbours do; and a text of nothing at all is one ``padding``.

    Args:
        x: tokens of the vocabulary, and behind it the mask, the start and the end.
        real: the start, the text and the end.
        before: the model's tokens before a text.
        after: those after it.
        mask: what stands in ``x`` for a token that is not shown, and the model's own token for it.
        padding: the model's token for nothing.
    """
    inside = real.sum(1, keepdim=True) - 2
    lead, text = len(before), torch.where(x == mask[0], mask[1], x)[:, 1:-1]
    width = max(1, lead + text.shape[1] + len(after))
    places = torch.arange(width, device=x.device).expand(len(x), -1)
    tokens = x.new_full((len(x), width), padding)
    if text.shape[1]:
        own = text.gather(1, (places - lead).clamp(0, text.shape[1] - 1))
        tokens = torch.where((places >= lead) & (places < lead + inside), own, tokens)
    for at, token in enumerate(before):
        tokens[:, at] = token
    for at, token in enumerate(after):
        tokens = tokens.masked_fill(places == lead + inside + at, token)
    lengths = (lead + inside + len(after)).clamp(min=1)
    index = torch.arange(x.shape[1], device=x.device)[None] - 1 + lead
    return Framed(tokens, places < lengths, torch.minimum(index.clamp(min=0), lengths - 1))
