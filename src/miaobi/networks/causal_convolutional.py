"""Gated, dilated, causal convolutions over tokens.

Gated convolutional language model (Dauphin et al. 2017, "Language modeling with gated convolutional networks") with
the doubling dilations of WaveNet (van den Oord et al. 2016). Each layer normalises, convolves the past, gates, and adds
to the residual stream; output projections start at zero.
"""

from __future__ import annotations

from typing import Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.networks._base import NetworkConfig, SizeTable, TokenNetwork, embed_tokens
from miaobi.networks._tokens import Unpacked, new_embedding, new_head, require_token_ports
from miaobi.types import Field, Size, Spec

_SIZES = SizeTable(width=(64, 256, 512), depth=(4, 8, 16))


class CausalConvolutional(TokenNetwork):
    """Sees ``1 + (kernel - 1) * sum of dilations`` tokens: layer i has dilation ``2 ** (i % cycle)``."""

    class Config(NetworkConfig):
        """Shape and regularisation."""

        width: int = Value(256, ge=1, le=16384)
        depth: int = Value(8, ge=1, le=200)
        kernel: int = Value(3, ge=2, le=64)
        cycle: int = Value(6, ge=1, le=16, description="layers after which dilations start again at 1")
        dropout: float = Value(0.0, ge=0, lt=1)

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        require_token_ports("causal_convolutional", source, target, conditions)
        width, depth = _SIZES.at(size)
        return cls.Config(width=width, depth=depth)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        require_token_ports("causal_convolutional", source, target, conditions)
        self.embedding = new_embedding(source.vocabulary, config.width)
        self.layers = nn.ModuleList(_Layer(config, 2 ** (index % config.cycle)) for index in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.output = new_head(config.width, target.vocabulary)

    @property
    def head(self) -> Tensor:
        return self.output.weight

    def hidden(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        x = embed_tokens(self.embedding, x)
        if segments is None:
            return self._run(x)
        rows = Unpacked(segments)
        return rows.merge(self._run(rows.split(x)))

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> ConvolutionalCache:
        """Rings as long as each layer's past, whatever the ``span``; arithmetic stays in the parameters' dtype."""
        shapes = [(rows, layer.past + 1, self.config.width) for layer in self._layers()]
        lengths = torch.zeros(rows, dtype=torch.int64, device=self.head.device)
        return ConvolutionalCache([self.head.new_zeros(shape) for shape in shapes], lengths)

    @torch.no_grad()
    def prefill(self, tokens: Tensor, lengths: Tensor, cache: ConvolutionalCache) -> Tensor:
        x = self.embedding(tokens)
        for index, layer in enumerate(self._layers()):
            normal = layer.norm(x)
            past = cache.past(index)
            cache.write(index, normal, lengths)
            x = x + layer.branch(torch.cat([past, normal], 1))
        cache.lengths = cache.lengths + lengths
        last = x[torch.arange(len(x), device=x.device), lengths - 1]
        return F.linear(self.norm(last), self.head)

    def step(self, tokens: Tensor, cache: ConvolutionalCache) -> Tensor:
        return self.prefill(tokens[:, None], torch.ones_like(tokens), cache)

    def _layers(self) -> list[_Layer]:
        return cast(list[_Layer], list(self.layers))

    def _run(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self, config: CausalConvolutional.Config, dilation: int) -> None:
        super().__init__()
        self.past = (config.kernel - 1) * dilation
        self.norm = nn.LayerNorm(config.width)
        self.convolution = nn.Conv1d(config.width, 2 * config.width, config.kernel, dilation=dilation)
        self.mix = nn.Linear(config.width, config.width, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        nn.init.zeros_(self.mix.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(F.pad(self.norm(x), (0, 0, self.past, 0)))

    def branch(self, x: Tensor) -> Tensor:
        """``[B, past + L, D]`` normalised inputs, the past included, to ``[B, L, D]``."""
        gated = F.glu(self.convolution(x.transpose(1, 2)), dim=1)
        return self.dropout(self.mix(gated.transpose(1, 2)))  # type: ignore[no-any-return]


class ConvolutionalCache:
    """Each layer's past inputs in a ring ``[rows, past + 1, D]``; token t lies at t modulo the ring's length."""

    def __init__(self, rings: list[Tensor], lengths: Tensor) -> None:
        self.rings, self.lengths = rings, lengths

    def select(self, rows: Tensor) -> Self:
        return type(self)([ring[rows] for ring in self.rings], self.lengths[rows])

    def join(self, other: Self) -> Self:
        rings = [torch.cat(pair) for pair in zip(self.rings, other.rings, strict=True)]
        return type(self)(rings, torch.cat([self.lengths, other.lengths]))

    def empty(self, rows: int, span: int) -> Self:
        rings = [ring.new_zeros(rows, *ring.shape[1:]) for ring in self.rings]
        return type(self)(rings, self.lengths.new_zeros(rows))

    def past(self, index: int) -> Tensor:
        """``[rows, past, D]`` in order of time, zero before the start (slots not written yet are zero)."""
        ring = self.rings[index]
        size = ring.shape[1]
        times = self.lengths[:, None] + torch.arange(1 - size, 0, device=ring.device)
        return ring[torch.arange(len(ring), device=ring.device)[:, None], times % size]

    def write(self, index: int, x: Tensor, lengths: Tensor) -> None:
        """Keep the newest of ``x [rows, L, D]``'s first ``lengths`` inputs."""
        ring = self.rings[index]
        size = ring.shape[1]
        place = torch.arange(x.shape[1], device=x.device)[None]
        rows, columns = ((place < lengths[:, None]) & (place >= lengths[:, None] - size)).nonzero(as_tuple=True)
        ring[rows, (self.lengths[rows] + columns) % size] = x[rows, columns]
