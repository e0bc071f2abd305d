"""Token networks that read their conditions: encoded once an item, attended to at every token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._base import TokenNetwork
from miaobi.networks._conditioner import Conditioner
from miaobi.networks._heads import require_how
from miaobi.networks._pointer import Pointer
from miaobi.types import Field, Spec


@dataclass(frozen=True, slots=True)
class Source:
    """What items are written from.

    Attributes:
        sequence: ``[B, S, D]``, attended to.
        mask: ``[B, S]`` bool, true at what is real; something is in every row.
        vector: ``[B, D]``, added to every token's embedding; ``None`` where no condition enters so.
        tokens: ``[B, S]`` int64, the target's tokens that may be copied from there, -1 where there is none.
    """

    sequence: Tensor
    mask: Tensor
    vector: Tensor | None
    tokens: Tensor

    def select(self, rows: Tensor | slice) -> Source:
        """A copy of ``rows``."""
        vector = None if self.vector is None else self.vector[rows]
        return Source(self.sequence[rows], self.mask[rows], vector, self.tokens[rows])

    def apart(self) -> list[Source]:
        """An item each, without padding."""
        rows = [self.select(slice(row, row + 1)) for row in range(len(self.mask))]
        return [one._places(one.mask[0]) for one in rows]

    def _places(self, kept: Tensor) -> Source:
        return Source(self.sequence[:, kept], self.mask[:, kept], self.vector, self.tokens[:, kept])

    @staticmethod
    def gather(sources: Sequence[Source]) -> Source:
        """The inverse of `apart`."""
        longest = max(one.mask.shape[1] for one in sources)
        sequence = torch.cat([_padded(one.sequence, longest) for one in sources])
        mask, tokens = _level([one.mask for one in sources], False), _level([one.tokens for one in sources], -1)
        vectors = [one.vector for one in sources if one.vector is not None]
        return Source(sequence, mask, torch.cat(vectors) if vectors else None, tokens)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the rows of a cache attend to, prepared once.

    Attributes:
        keys: one or more ``[rows, ..., S, D]``, those of a `Pointer` last.
        values: one or more ``[rows, ..., S, D]``.
        mask: ``[rows, S]`` bool, true at what is real.
        vector: ``[rows, D]``, added to embeddings.
        tokens: ``[rows, S]`` int64: see `Source`.
    """

    keys: list[Tensor]
    values: list[Tensor]
    mask: Tensor
    vector: Tensor | None
    tokens: Tensor

    def select(self, rows: Tensor) -> Memory:
        """A copy of ``rows``."""
        keys, values = ([part[rows] for part in parts] for parts in (self.keys, self.values))
        vector = None if self.vector is None else self.vector[rows]
        return Memory(keys, values, self.mask[rows], vector, self.tokens[rows])

    def join(self, other: Memory) -> Memory:
        """Its own rows, then ``other``'s."""
        longest = max(self.mask.shape[1], other.mask.shape[1])

        def joined(mine: list[Tensor], its: list[Tensor]) -> list[Tensor]:
            return [torch.cat([_padded(part, longest) for part in pair]) for pair in zip(mine, its, strict=True)]

        mask, tokens = _level([self.mask, other.mask], False), _level([self.tokens, other.tokens], -1)
        vector = None if self.vector is None or other.vector is None else torch.cat([self.vector, other.vector])
        return Memory(joined(self.keys, other.keys), joined(self.values, other.values), mask, vector, tokens)


class ReadingNetwork(TokenNetwork):
    """Encodes its conditions and attends to them while it writes.

    Conditions that enter as a ``sequence`` are what is attended to, one of them at least; a ``vector`` is added to
    every token's embedding. Before it is first fed, a cache is told what its rows read (``cache.tell(sources)``);
    rows that are told nothing read the learned nulls.
    """

    conditioner: Conditioner

    def __init__(self, config: Any, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        self.pointer: Pointer | None = None
        """What copies, where the network was built to: its logits are then logarithms of probabilities."""

    def forward(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        logits: bool = True,
        **inputs: Any,
    ) -> Tensor:
        """See `TokenNetwork`.

        Raises:
            Unsupported: ``logits=False`` of a network that copies: no one matrix makes its logits.
        """
        if self.pointer is not None and not logits:
            raise Unsupported(
                "a network that copies what it reads has no hidden states that one matrix turns to logits"
            )
        read = self.read(conditions, len(x))
        hidden = self.write(x, read, lengths, segments)
        if not logits:
            return hidden
        made = F.linear(hidden, self.head)
        if self.pointer is None:
            return made
        return self.pointer(hidden, self.pointer.key(read.sequence), read.mask, read.tokens, made)

    def hidden(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        return self.write(x, self.read(conditions, len(x)), lengths, segments)

    @abstractmethod
    def write(self, x: Tensor, read: Source, lengths: Tensor | None, segments: Tensor | None) -> Tensor:
        """`hidden` of what was read."""

    @abstractmethod
    def encode(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """What the conditioner gave, ``[B, S, D]`` with real positions in ``mask [B, S]``, as it is attended to."""

    def read(self, conditions: Mapping[str, Field] | None, rows: int) -> Source:
        """What ``rows`` items are written from; a condition that is missing counts as absent for every row."""
        told = self.conditioner(dict(conditions or {}), rows)
        return Source(self.encode(told.sequence, told.mask), told.mask, told.vector, told.tokens)

    @torch.no_grad()
    def sources(self, conditions: Mapping[str, Field] | None, rows: int) -> list[Source]:
        """`read`, an item each: what a cache is told."""
        return self.read(conditions, rows).apart()


def reading_conditioner(
    name: str,
    specs: dict[str, Spec],
    options: Mapping[str, Any],
    width: int,
    depth: int,
    embedding: nn.Embedding | None = None,
) -> Conditioner:
    """A conditioner that keeps all but labels apart, with token encoders of ``depth`` layers unless ``options`` differ.

    Raises:
        Unsupported: a condition enters in a way that is not understood, or none is attended to.
    """
    require_readable(name, specs)
    made = Conditioner(specs, dict(options), width, apart=True, depth=depth, embedding=embedding)
    require_how(name, made, "sequence", "vector")
    if "sequence" not in made.how.values():
        raise Unsupported(
            f"{name} attends to its conditions, and none enters as a sequence",
            given=made.how,
            cure="set `how: sequence` for a condition in the network's conditioner",
        )
    return made


def require_readable(name: str, conditions: Mapping[str, Spec]) -> None:
    """Refuse to read nothing.

    Raises:
        Unsupported: there is no condition.
    """
    if not conditions:
        raise Unsupported(
            f"{name} writes from its conditions, and there is none",
            cure="use it in the family seq2seq with a condition, or use transformer, gru or lstm",
        )


def _level(parts: Sequence[Tensor], filling: int) -> Tensor:
    """``[B, S]`` each, below one another and filled up on the right."""
    longest = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, longest - part.shape[1]), value=filling) for part in parts])


def _padded(part: Tensor, length: int) -> Tensor:
    """``[..., S, D]`` with zeros up to ``length``."""
    return F.pad(part, (0, 0, 0, length - part.shape[-2]))
