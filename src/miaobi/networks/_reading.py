"""Token networks that read their conditions: encoded once an item, attended to at every token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.networks._base import TokenNetwork
from miaobi.networks._conditioner import Conditioner
from miaobi.networks._heads import require_how
from miaobi.types import Field, Spec


@dataclass(frozen=True, slots=True)
class Source:
    """What items are written from.

    Attributes:
        sequence: ``[B, S, D]``, attended to.
        mask: ``[B, S]`` bool, true at what is real; something is in every row.
        vector: ``[B, D]``, added to every token's embedding; ``None`` where no condition enters so.
    """

    sequence: Tensor
    mask: Tensor
    vector: Tensor | None

    def select(self, rows: Tensor | slice) -> Source:
        """A copy of ``rows``."""
        return Source(self.sequence[rows], self.mask[rows], None if self.vector is None else self.vector[rows])

    def apart(self) -> list[Source]:
        """An item each, without padding."""
        rows = [self.select(slice(row, row + 1)) for row in range(len(self.mask))]
        return [Source(one.sequence[:, one.mask[0]], one.mask[:, one.mask[0]], one.vector) for one in rows]

    @staticmethod
    def gather(sources: Sequence[Source]) -> Source:
        """The inverse of `apart`."""
        longest = max(one.mask.shape[1] for one in sources)
        sequence = torch.cat([_padded(one.sequence, longest) for one in sources])
        mask = torch.cat([F.pad(one.mask, (0, longest - one.mask.shape[1])) for one in sources])
        vectors = [one.vector for one in sources if one.vector is not None]
        return Source(sequence, mask, torch.cat(vectors) if vectors else None)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the rows of a cache attend to, prepared once.

    Attributes:
        keys: one or more ``[rows, ..., S, D]``.
        values: as many.
        mask: ``[rows, S]`` bool, true at what is real.
        vector: ``[rows, D]``, added to embeddings.
    """

    keys: list[Tensor]
    values: list[Tensor]
    mask: Tensor
    vector: Tensor | None

    def select(self, rows: Tensor) -> Memory:
        """A copy of ``rows``."""
        keys, values = ([part[rows] for part in parts] for parts in (self.keys, self.values))
        return Memory(keys, values, self.mask[rows], None if self.vector is None else self.vector[rows])

    def join(self, other: Memory) -> Memory:
        """Its own rows, then ``other``'s."""
        longest = max(self.mask.shape[1], other.mask.shape[1])

        def joined(mine: list[Tensor], its: list[Tensor]) -> list[Tensor]:
            return [torch.cat([_padded(part, longest) for part in pair]) for pair in zip(mine, its, strict=True)]

        mask = torch.cat([F.pad(part, (0, longest - part.shape[1])) for part in (self.mask, other.mask)])
        vector = None if self.vector is None or other.vector is None else torch.cat([self.vector, other.vector])
        return Memory(joined(self.keys, other.keys), joined(self.values, other.values), mask, vector)


class ReadingNetwork(TokenNetwork):
    """Encodes its conditions and attends to them while it writes.

    Conditions that enter as a ``sequence`` are what is attended to, one of them at least; a ``vector`` is added to
    every token's embedding. Before it is first fed, a cache is told what its rows read (``cache.tell(sources)``);
    rows that are told nothing read the learned nulls.
    """

    conditioner: Conditioner

    @abstractmethod
    def encode(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """What the conditioner gave, ``[B, S, D]`` with real positions in ``mask [B, S]``, as it is attended to."""

    def read(self, conditions: Mapping[str, Field] | None, rows: int) -> Source:
        """What ``rows`` items are written from; a condition that is missing counts as absent for every row."""
        told = self.conditioner(dict(conditions or {}), rows)
        return Source(self.encode(told.sequence, told.mask), told.mask, told.vector)

    @torch.no_grad()
    def sources(self, conditions: Mapping[str, Field] | None, rows: int) -> list[Source]:
        """`read`, an item each: what a cache is told."""
        return self.read(conditions, rows).apart()


def reading_conditioner(
    name: str, specs: dict[str, Spec], options: Mapping[str, Any], width: int, depth: int
) -> Conditioner:
    """A conditioner that keeps all but labels apart, with token encoders of ``depth`` layers unless ``options`` differ.

    Raises:
        Unsupported: a condition enters in a way that is not understood, or none is attended to.
    """
    require_readable(name, specs)
    made = Conditioner(specs, dict(options), width, apart=True, depth=depth)
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


def _padded(part: Tensor, length: int) -> Tensor:
    """``[..., S, D]`` with zeros up to ``length``."""
    return F.pad(part, (0, 0, 0, length - part.shape[-2]))
