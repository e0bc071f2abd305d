"""Interleaved streams as columns: folding, what sounds in them, where they stand, and decoding them token by token."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from miaobi.networks._reading import Source

_PERIODS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96)
"""Columns: beats and bars of two, three and four."""


def by_columns(x: Tensor, streams: int) -> Tensor:
    """``[B, L, D]`` to ``[B, T, streams, D]``, zero past the end."""
    x = F.pad(x, (0, 0, 0, -x.shape[1] % streams))
    return x.unflatten(1, (-1, streams))


def sounding(notes: Tensor, hold: Tensor) -> Tensor:
    """Each stream's last row of ``notes [B, T, S, D]`` that is not ``hold [B, T, S]``; zero before the first."""
    steps = torch.arange(notes.shape[1], device=notes.device)[None, :, None].expand_as(hold)
    last = torch.where(hold, -1, steps).cummax(1).values
    found = notes.gather(1, last.clamp(min=0)[..., None].expand_as(notes))
    return found * (last >= 0)[..., None]


def sinusoids(at: Tensor, width: int) -> Tensor:
    """``[..., width]``: sines and cosines of column numbers at musical periods, as many as fit, then zeros."""
    angles = at[..., None].float() * torch.tensor([2 * math.pi / period for period in _PERIODS], device=at.device)
    waves = torch.cat([angles.sin(), angles.cos()], -1)[..., :width]
    return F.pad(waves, (0, width - waves.shape[-1]))


@dataclass(slots=True)
class Beside:
    """What each row is told at its columns: ``sequence [rows, T, D]`` (zero past the end) and ``vector [rows, D]``."""

    sequence: Tensor
    vector: Tensor | None

    @classmethod
    def of(cls, source: Source) -> Beside:
        """What was read, a column each."""
        return cls(source.sequence * source.mask[..., None], source.vector)

    def at(self, columns: Tensor) -> Tensor:
        """``[rows, D]`` at ``columns [rows]``."""
        rows = torch.arange(len(columns), device=columns.device)
        last = self.sequence.shape[1] - 1
        found = self.sequence[rows, columns.clamp(max=last)] * (columns <= last)[:, None]
        return found if self.vector is None else found + self.vector

    def select(self, rows: Tensor) -> Beside:
        """A copy of ``rows``."""
        return Beside(self.sequence[rows], None if self.vector is None else self.vector[rows])

    def join(self, other: Beside) -> Beside:
        """Its own rows, then ``other``'s."""
        longest = max(self.sequence.shape[1], other.sequence.shape[1])
        parts = [F.pad(one.sequence, (0, 0, 0, longest - one.sequence.shape[1])) for one in (self, other)]
        vector = None if self.vector is None or other.vector is None else torch.cat([self.vector, other.vector])
        return Beside(torch.cat(parts), vector)


class ColumnCache:
    """A recurrent state, the column under way, what each stream sounds, and what stands beside; a row is a sequence.

    Attributes:
        state: ``[hidden]`` a row and layer.
        column: ``[rows, streams, width]``: tokens of the column so far, zero where there is none yet.
        notes: ``[rows, streams, width]``: each stream's last token that was not a hold.
        lengths: ``[rows]`` tokens fed.
    """

    def __init__(
        self, state: list[Tensor], column: Tensor, notes: Tensor, lengths: Tensor, told: Beside | None = None
    ) -> None:
        self.state, self.column, self.notes, self.lengths, self.told = state, column, notes, lengths, told

    @classmethod
    def new(cls, rows: int, sizes: tuple[int, int, int, int], like: Tensor) -> Self:
        """Empty; ``sizes``: depth, hidden, streams and width."""
        depth, hidden, streams, width = sizes
        state = [like.new_zeros(rows, hidden) for _ in range(depth)]
        notes = like.new_zeros(rows, streams, width)
        return cls(state, notes.clone(), notes, torch.zeros(rows, dtype=torch.int64, device=like.device))

    def tell(self, sources: Sequence[Source]) -> None:
        """What each row is told, before anything is fed."""
        self.told = Beside.of(Source.gather(sources))

    def beside(self, nothing: Callable[[int], Source]) -> Beside:
        """What its rows are told; of ``nothing`` where they were told nothing."""
        told = self.told or Beside.of(nothing(len(self.lengths)))
        self.told = told
        return told

    def select(self, rows: Tensor) -> Self:
        state = [part[rows] for part in self.state]
        told = None if self.told is None else self.told.select(rows)
        return type(self)(state, self.column[rows], self.notes[rows], self.lengths[rows], told)

    def join(self, other: Self) -> Self:
        """Both have been fed."""
        state = [torch.cat(pair) for pair in zip(self.state, other.state, strict=True)]
        told = self.told.join(other.told) if self.told and other.told else None
        column, notes = torch.cat([self.column, other.column]), torch.cat([self.notes, other.notes])
        return type(self)(state, column, notes, torch.cat([self.lengths, other.lengths]), told)

    def empty(self, rows: int, span: int) -> Self:
        sizes = (len(self.state), self.state[0].shape[1], *self.notes.shape[1:])
        return self.new(rows, sizes, self.notes)  # type: ignore[arg-type]

    def advanced(self, other: Self, rows: Tensor) -> None:
        """Take over ``rows`` (bool) of another cache that went on from this one."""
        chosen = rows[:, None]
        self.state = [torch.where(chosen, new, old) for new, old in zip(other.state, self.state, strict=True)]
        self.column = torch.where(chosen[..., None], other.column, self.column)
        self.notes = torch.where(chosen[..., None], other.notes, self.notes)
        self.lengths = torch.where(rows, other.lengths, self.lengths)
        self.told = other.told


def prefill(
    step: Callable[[Tensor, ColumnCache], Tensor], tokens: Tensor, lengths: Tensor, cache: ColumnCache
) -> Tensor:
    """Feed ``tokens [B, L]`` of ``lengths [B]`` one by one; the logits ``[B, V]`` after each row's last."""
    last = step(tokens[:, 0], cache)
    for place in range(1, tokens.shape[1]):
        under_way = place < lengths
        ahead = cache.select(torch.arange(len(tokens), device=tokens.device))
        last = torch.where(under_way[:, None], step(tokens[:, place], ahead), last)
        cache.advanced(ahead, under_way)
    return last
