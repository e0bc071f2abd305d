"""What the token networks share: checked ports, embeddings, heads, and packed rows taken apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.types import Form, Spec


def require_token_ports(name: str, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
    """Refuse anything but one token vocabulary in and out, and conditions of the network's own.

    Raises:
        Unsupported: naming what could.
    """
    require_one_vocabulary(name, source, target)
    if conditions:
        raise Unsupported(
            f"{name} takes its conditions as a prefix of tokens, which the family lays out",
            given=sorted(conditions),
            cure="use a family that does, such as autoregressive",
        )


def require_one_vocabulary(name: str, source: Spec, target: Spec) -> None:
    """Refuse anything but one token vocabulary in and out.

    Raises:
        Unsupported: naming what could.
    """
    if source.form is not Form.TOKENS or target.form is not Form.TOKENS or source.vocabulary != target.vocabulary:
        raise Unsupported(
            f"{name} maps tokens to tokens of the same vocabulary",
            given=f"{source.form} ({source.vocabulary}) to {target.form} ({target.vocabulary})",
            cure="use convolutional or mlp for tensors",
        )


def new_embedding(vocabulary: int, width: int) -> nn.Embedding:
    """An embedding small enough that, tied to the head, first predictions are nearly uniform."""
    embedding = nn.Embedding(vocabulary, width)
    nn.init.normal_(embedding.weight, std=0.02)
    return embedding


def new_head(width: int, vocabulary: int) -> nn.Linear:
    """A head that starts at zero: first predictions are exactly uniform."""
    head = nn.Linear(width, vocabulary, bias=False)
    nn.init.zeros_(head.weight)
    return head


class Unpacked:
    """Packed rows taken apart, for networks that carry a state from left to right.

    Args:
        segments: ``[B, L]``: which item a position belongs to; an item is a run of equal numbers.

    ``owners [items]`` are the rows that they stand in.
    """

    def __init__(self, segments: Tensor) -> None:
        starts = torch.ones_like(segments, dtype=torch.bool)
        starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
        self.shape = segments.shape
        self.row = starts.flatten().cumsum(0) - 1
        index = torch.arange(segments.numel(), device=segments.device)
        self.column = index - index[starts.flatten()][self.row]
        self.owners = index[starts.flatten()] // segments.shape[1]

    def split(self, x: Tensor) -> Tensor:
        """``[B, L, ...]`` to ``[items, longest, ...]``, zero past each item's end."""
        out = x.new_zeros(int(self.row[-1]) + 1, int(self.column.max()) + 1, *x.shape[2:])
        return out.index_put((self.row, self.column), x.flatten(0, 1))

    def merge(self, x: Tensor) -> Tensor:
        """The inverse of `split`."""
        return x[self.row, self.column].unflatten(0, self.shape)
