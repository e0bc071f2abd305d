"""Decoding with an `EncoderDecoder`: the keys and values of what is read are made once an item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from miaobi.networks._reading import Memory, Source
from miaobi.networks._transformer_decoding import Matrix, TransformerCache, Weights, attend, unit

if TYPE_CHECKING:
    from miaobi.networks.encoder_decoder import EncoderDecoder


class _CrossWeights:
    def __init__(self, layer: Any, config: Any, dtype: torch.dtype) -> None:
        cross, size = layer.cross_attn, config.head_size
        self.scales: tuple[Tensor, Tensor] | None = None
        q = cross.q_proj.weight
        if cross.q_norm is None:
            q = q * size**-0.5
        else:
            # As in self-attention, both norms leave out their factor sqrt(size).
            self.scales = cross.q_norm.weight.float(), cross.k_norm.weight.float() * size**0.5
        self.q = Matrix(q * layer.cross_attention_layernorm.weight * config.width**0.5, dtype)
        self.k, self.v = Matrix(cross.k_proj.weight, dtype), Matrix(cross.v_proj.weight, dtype)
        self.out = Matrix(cross.o_proj.weight, dtype)


class ReadingWeights(Weights):
    """The decoder's weights as they are now, and what it reads where it is told nothing."""

    @torch.no_grad()
    def __init__(self, network: EncoderDecoder, dtype: torch.dtype) -> None:
        super().__init__(network, dtype)
        self.cross = [_CrossWeights(layer, network.config, dtype) for layer in network.layers]
        self.nothing = network.sources({}, 1)[0]
        self.norm, self.pointer = network.norm, network.pointer

    def memory(self, source: Source) -> Memory:
        """Keys and values, float32 ``[rows, key heads, S, head]`` a layer."""
        sequence = source.sequence.to(self.dtype)
        keys = [self._keys(layer, sequence) for layer in self.cross]
        values = [self._heads(layer.v(sequence)) for layer in self.cross]
        if self.pointer is not None:
            keys.append(self.pointer.key(source.sequence.float()))
        return Memory(keys, values, source.mask, source.vector, source.tokens)

    def cross_queries(self, layer: _CrossWeights, x: Tensor) -> Tensor:
        """``[rows, L, D]`` to ``[rows, heads, L, head]`` float32."""
        q = self._heads(layer.q(unit(x, self.floor)))
        return q if layer.scales is None else unit(q, self.head_floor) * layer.scales[0]

    def _keys(self, layer: _CrossWeights, sequence: Tensor) -> Tensor:
        k = self._heads(layer.k(sequence))
        return k if layer.scales is None else unit(k, self.head_floor) * layer.scales[1]

    def _heads(self, x: Tensor) -> Tensor:
        return x.float().unflatten(-1, (-1, self.head_size)).transpose(1, 2)


class ReadingCache(TransformerCache):
    """A Transformer's cache, and the memory of what each row reads."""

    weights: ReadingWeights
    memory: Memory | None = None
    _hidden: Tensor | None = None

    def tell(self, sources: Sequence[Source]) -> None:
        """What each row reads, before anything is fed."""
        self._hold(self.weights.memory(Source.gather(sources)))

    def empty(self, rows: int, span: int) -> ReadingCache:
        return ReadingCache(self.weights, rows, span)

    def select(self, rows: Tensor) -> Self:
        chosen = super().select(rows)
        chosen._hold(self._known().select(rows))
        return chosen

    def join(self, other: Self) -> Self:
        both = super().join(other)
        both._hold(self._known().join(other._known()))
        return both

    def put(self, rows: Tensor, other: Self) -> bool:
        """Never: what rows read is of different lengths, so all is copied in any case."""
        return False

    def _embed(self, tokens: Tensor) -> Tensor:
        x, vector = super()._embed(tokens), self._known().vector
        if vector is None:
            return x
        return x + vector.to(x.dtype).view(len(x), *[1] * (tokens.ndim - 1), -1)

    def _read(self, index: int, x: Tensor) -> Tensor:
        layer, memory = self.weights.cross[index], self._known()
        q = self.weights.cross_queries(layer, x.reshape(len(x), -1, x.shape[-1]))
        out = attend(q, memory.keys[index], memory.values[index], self._hidden)
        return layer.out.add(out.transpose(1, 2).reshape(*x.shape[:-1], -1).to(x.dtype), x)

    def _logits(self, x: Tensor) -> Tensor:
        logits, memory, weights = super()._logits(x), self._known(), self.weights
        if weights.pointer is None:
            return logits
        hidden = weights.norm(x.float())[:, None]
        mixed = weights.pointer(hidden, memory.keys[-1], memory.mask, memory.tokens, logits[:, None])
        return mixed[:, 0]  # type: ignore[no-any-return]

    def _known(self) -> Memory:
        if self.memory is not None:
            return self.memory
        return self._hold(self.weights.memory(Source.gather([self.weights.nothing] * len(self.lengths))))

    def _hold(self, memory: Memory) -> Memory:
        blind = ~memory.mask
        self.memory, self._hidden = memory, None
        if bool(blind.any()):
            self._hidden = torch.zeros(blind.shape, device=blind.device).masked_fill_(blind, float("-inf"))[
                :, None, None
            ]
        return memory
