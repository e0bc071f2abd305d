"""Copying: the next token is written from the vocabulary or taken from what is read.

See et al. 2017, "Get to the point: summarization with pointer-generator networks", after Vinyals et al. 2015, "Pointer
networks" and Gu et al. 2016, "Incorporating copying mechanism in sequence-to-sequence learning". The pointer has an
attention of its own over what is read, so a network's other attention stays free to look elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._heads import linear
from miaobi.types import Spec

_SELDOM = -2.0
"""The first log-odds of copying: 12 %."""
_LEAST = 1e-20
"""A probability that stands for none: its logarithm is finite."""


class Pointer(nn.Module):
    """Mixes what a head says with a distribution over what is read.

    Args:
        hidden: channels of the states that the head reads.
        width: channels of what is read.
    """

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.query, self.key = linear(hidden, width), linear(width, width)
        self.gate = linear(hidden, 1, 0.1)
        nn.init.constant_(self.gate.bias, _SELDOM)
        self.scale = width**-0.5

    def forward(self, hidden: Tensor, keys: Tensor, mask: Tensor, tokens: Tensor, logits: Tensor) -> Tensor:
        """Logarithms of probabilities, ``[B, L, V]`` float32.

        Args:
            hidden: ``[B, L, hidden]``.
            keys: what ``key`` made of what is read, ``[B, S, width]``.
            mask: ``[B, S]`` bool, true at what is real.
            tokens: ``[B, S]`` int64: which token each position spells, -1 for none.
            logits: the head's, ``[B, L, V]``.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            hidden, logits = hidden.float(), logits.float()
            scores = self.query(hidden) * self.scale @ keys.float().mT
            return mixture(self.gate(hidden), scores, mask & (tokens >= 0), tokens, logits)


def mixture(gate: Tensor, scores: Tensor, copied: Tensor, tokens: Tensor, logits: Tensor) -> Tensor:
    """What `Pointer` gives, of the log-odds of copying ``[B, L, 1]`` and scores of what may be copied ``[B, L, S]``."""
    can = copied.any(1)[:, None, None]
    attention = scores.masked_fill(~copied[:, None], float("-inf")).masked_fill(~can, 0.0).softmax(-1)
    share = gate.sigmoid() * can
    written = logits.softmax(-1) * (1 - share)
    index = tokens.clamp(min=0)[:, None].expand(-1, attention.shape[1], -1)
    return written.scatter_add(2, index, attention * copied[:, None] * share).clamp(min=_LEAST).log()


def new_pointer(name: str, conditions: Mapping[str, Spec], how: Mapping[str, str], hidden: int, width: int) -> Pointer:
    """A pointer over what is attended to of ``conditions``.

    Raises:
        Unsupported: none of that is spelled in the target's own tokens.
    """
    if not any(spec.shared and how[name] == "sequence" for name, spec in conditions.items()):
        raise Unsupported(
            f"{name} can copy only what is spelled in the target's own tokens",
            given={name: str(spec.form) for name, spec in conditions.items()},
            cure="name the condition's modality without options of its own, so that it shares the target's tokenizer, "
            "or set copying: false",
        )
    return Pointer(hidden, width)
