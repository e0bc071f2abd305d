"""From vectors to codes and back: finite scalar quantisation and vector quantisation.

Gradients pass straight through (Bengio, Leonard and Courville 2013). Codebooks and counts are buffers that follow
statistics summed over the whole batch, so micro-batches and processes add up to the large batch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from miaobi.sampling.noise import integers, uniform

_MEMORY = 0.99
"""Decay of counts and codebooks over steps (van den Oord et al. 2017)."""
_RECENT = (1 - _MEMORY) * _MEMORY**100
"""A decayed count above this: the code was chosen within about the last hundred steps."""
_UNSEEN = 0.01
"""Share of the codes' distribution that is spread over all, so that none is impossible."""
_DEAD = 0.1
"""A code chosen less often than this share of the average is replaced."""
_MOST_NUMBERS = 1 << 24
_PEAKED = -4
"""Of the candidates for a place, the power that makes one outweigh all others."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """What quantising gave.

    Attributes:
        values: ``[B, D, *space]`` float32, on the grid; gradients go to the input as if nothing had been done.
        codes: ``[B, *space]`` int64.
        commitment: ``[B]``: mean squared distance of the input from its code.
        statistics: what `Quantiser.observe` takes, summed over items.
    """

    values: Tensor
    codes: Tensor
    commitment: Tensor
    statistics: dict[str, Tensor]


class Quantiser(nn.Module, ABC):
    """Vectors of ``width`` numbers in [-1, 1], one of ``codes`` a position.

    Args:
        codes: how many there are.
        width: channels that go in and come out.
    """

    commits: ClassVar[bool] = False
    """Whether inputs have to be drawn to their codes."""
    use: Tensor

    def __init__(self, codes: int, width: int) -> None:
        super().__init__()
        self.codes, self.width = codes, width
        # How often a step chooses each code, decayed over steps.
        self.register_buffer("use", torch.zeros(codes))

    def forward(self, z: Tensor, seeds: Tensor) -> Quantised:
        """Quantise an encoder's output ``[B, width, *space]``."""
        with torch.autocast(z.device.type, enabled=False):
            bounded = self.bound(z.float())
            codes = self.assign(bounded.detach())
            found = self.lookup(codes)
            values = bounded + (found - bounded).detach()
            commitment = (bounded - found).square().flatten(1).mean(1)
            return Quantised(values, codes, commitment, self.statistics(bounded.detach(), codes, seeds))

    @abstractmethod
    def bound(self, z: Tensor) -> Tensor:
        """An encoder's output brought to where codes are, within [-1, 1]."""

    @abstractmethod
    def assign(self, values: Tensor) -> Tensor:
        """The nearest code ``[B, *space]`` of ``values [B, width, *space]``."""

    @abstractmethod
    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors ``[B, width, *space]`` of ``codes [B, *space]``."""

    def statistics(self, values: Tensor, codes: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """What `observe` needs to know of some items, to be summed over items."""
        return {"codes": torch.bincount(codes.flatten(), minlength=self.codes).float()}

    def observe(self, statistics: Mapping[str, Tensor]) -> None:
        """Follow a step's whole batch."""
        self.use.lerp_(statistics["codes"].to(self.use), 1 - _MEMORY)

    def shares(self) -> Tensor:
        """``[codes]``: how probable each code is, none of them impossible."""
        total = self.use.sum()
        seen = torch.where(total > 0, self.use / total.clamp(min=1e-12), 1 / self.codes)
        return (1 - _UNSEEN) * seen + _UNSEEN / self.codes

    def used(self) -> Tensor:
        """Share of the codes that were chosen of late."""
        return (self.use > _RECENT).float().mean()

    def perplexity(self) -> Tensor:
        """How many equally frequent codes would be as uncertain; 1 before anything was seen."""
        shares = self.use / self.use.sum().clamp(min=1e-12)
        return torch.special.entr(shares).sum().exp()


class FiniteScalarQuantiser(Quantiser):
    """Each channel rounded to a few even levels of [-1, 1]; a code is their digits (Mentzer et al. 2023).

    "Finite scalar quantization: VQ-VAE made simple", with an even count of levels placed symmetrically too.
    """

    levels: Tensor
    places: Tensor

    def __init__(self, levels: Sequence[int]) -> None:
        super().__init__(math.prod(levels), len(levels))
        places = [math.prod(levels[:index]) for index in range(len(levels))]
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.register_buffer("places", torch.tensor(places), persistent=False)

    def bound(self, z: Tensor) -> Tensor:
        return z.tanh()

    def assign(self, values: Tensor) -> Tensor:
        steps = self.levels - 1
        # What is not a number gets some code: the loss tells the guards, an index out of range would end the run.
        digits = ((values.nan_to_num().movedim(1, -1).clamp(-1, 1) + 1) / 2 * steps).round().long()
        return (digits * self.places).sum(-1)

    def lookup(self, codes: Tensor) -> Tensor:
        digits = codes[..., None] // self.places % self.levels
        return (2 * digits / (self.levels - 1) - 1).movedim(-1, 1)


class VectorQuantiser(Quantiser):
    """The nearest of a codebook's unit vectors (van den Oord et al. 2017, "Neural discrete representation learning").

    The codebook is a moving average of what chose it (Razavi et al. 2019, "Generating diverse high-fidelity images with
    VQ-VAE-2"), on the unit sphere (Yu et al. 2022, "Vector-quantized image modeling with improved VQGAN"). A code that
    nothing chooses moves to one of the batch's vectors (Dhariwal et al. 2020, "Jukebox"); so it starts, too.
    """

    commits = True
    codebook: Tensor
    totals: Tensor

    def __init__(self, codes: int, width: int) -> None:
        super().__init__(codes, width)
        self.register_buffer("codebook", F.normalize(torch.randn(codes, width), dim=1))
        self.register_buffer("totals", torch.zeros(codes, width))

    def bound(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=1)

    def assign(self, values: Tensor) -> Tensor:
        flat = values.movedim(1, -1)
        rows = max(1, _MOST_NUMBERS // self.codes)
        parts = [(part @ self.codebook.T).argmax(1) for part in flat.reshape(-1, self.width).split(rows)]
        return torch.cat(parts).reshape(flat.shape[:-1])

    def lookup(self, codes: Tensor) -> Tensor:
        return F.embedding(codes, self.codebook).movedim(-1, 1)

    def statistics(self, values: Tensor, codes: Tensor, seeds: Tensor) -> dict[str, Tensor]:
        """Also the sum of each code's vectors, and for each code a vector drawn from the batch.

        Every vector stands for one random place with a random weight; weights are so uneven that the weighted mean of a
        place is almost always one vector. Unlike a choice, sums of micro-batches give what the large batch gives.
        """
        flat = values.movedim(1, -1).reshape(len(values), -1, self.width)
        count = flat.shape[1]
        places = integers(seeds, "places", self.codes, (count,)).flatten()
        weights = uniform(seeds, "weights", (count, 1)) ** _PEAKED
        weighted = torch.cat([weights * flat, weights], 2).flatten(0, 1)
        return {
            **super().statistics(values, codes, seeds),
            "totals": _sum_by(codes.flatten(), flat.flatten(0, 1), self.codes),
            "candidates": _sum_by(places, weighted, self.codes),
        }

    def observe(self, statistics: Mapping[str, Tensor]) -> None:
        """Move the codebook, and its dead codes to candidates."""
        super().observe(statistics)
        self.totals.lerp_(statistics["totals"].to(self.totals), 1 - _MEMORY)
        candidates, weights = statistics["candidates"].to(self.totals).split([self.width, 1], 1)
        average = self.use.mean()
        dead = (self.use < _DEAD * average) & (weights[:, 0] > 0)
        self.use.copy_(torch.where(dead, average, self.use))
        fresh = average * F.normalize(candidates / weights.clamp(min=1), dim=1)
        self.totals.copy_(torch.where(dead[:, None], fresh, self.totals))
        known = self.totals.square().sum(1, keepdim=True) > 0
        self.codebook.copy_(torch.where(known, F.normalize(self.totals, dim=1), self.codebook))


def _sum_by(places: Tensor, rows: Tensor, count: int) -> Tensor:
    """``[count, D]``: ``rows [N, D]`` added up by their ``places [N]``."""
    return rows.new_zeros(count, rows.shape[1]).index_add_(0, places, rows)
