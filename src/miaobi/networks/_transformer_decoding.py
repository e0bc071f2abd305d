"""Decoding with a Transformer: weights arranged for one token at a time, and a preallocated cache.

A step is bound by reading weights and by the number of operations, not by arithmetic. So matrices that read the same
input are joined, norm weights and scales are folded into the matrices that follow them, matrices are stored in oneDNN's
blocked order, and the two channels that rotary positions pair lie side by side as one complex number. Keys and values
are kept in float32: small batched products are faster in it than in bfloat16 on every processor measured. The result
is the network's own up to rounding, which the tests measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from miaobi.networks._cpu import pack_linear, packed_linear, packed_linear_add
from miaobi.networks._functions import rotary_tables

if TYPE_CHECKING:
    from miaobi.networks._compiled_decoding import CompiledSteps
    from miaobi.networks.encoder_decoder import EncoderDecoder
    from miaobi.networks.transformer import Transformer

Place = tuple[Tensor, Tensor]
"""Rows and positions, each ``[N]``, of tokens to be stored."""


class Matrix:
    """A frozen linear map, packed where that is possible."""

    def __init__(self, weight: Tensor, dtype: torch.dtype) -> None:
        plain = weight.to(dtype, copy=True)
        packed = pack_linear(plain)
        self.packed, self.weight = packed is not None, plain if packed is None else packed

    def __call__(self, x: Tensor) -> Tensor:
        return packed_linear(x, self.weight) if self.packed else F.linear(x, self.weight)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """``residual + self(x)``."""
        if self.packed:
            return packed_linear_add(x, self.weight, residual)
        return residual + F.linear(x, self.weight)


@dataclass(frozen=True, slots=True)
class Arranged:
    """A layer's weights as decoding wants them: joined, and with what precedes each matrix folded into it.

    Attributes:
        qkv: ``[(heads + 2 * key heads) * head, width]``.
        out: ``[width, heads * head]``.
        gate_up: ``[2 * inner, width]``.
        down: ``[width, inner]``.
        scale: ``[heads + key heads, head]``, what normalised queries and keys are multiplied by; ``None``: they are not
            normalised.
    """

    qkv: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor
    scale: Tensor | None

    @classmethod
    @torch.no_grad()
    def of(cls, layer: Any, config: Any) -> Arranged:
        """Those of a `Layer`."""
        attention, mlp, root = layer.self_attn, layer.mlp, config.width**0.5
        size = config.head_size
        q, k = _paired(attention.q_proj.weight, size), _paired(attention.k_proj.weight, size)
        scale = None
        if attention.q_norm is None:
            q = q * size**-0.5
        else:
            # Both norms leave out their factor sqrt(size); for queries the attention's scale cancels it.
            q_scale = _paired(attention.q_norm.weight, size).expand(config.heads, size)
            k_scale = _paired(attention.k_norm.weight, size).expand(config.key_count, size) * size**0.5
            scale = torch.cat([q_scale, k_scale]).float()
        before = layer.input_layernorm.weight * root
        between = layer.post_attention_layernorm.weight * root
        qkv = torch.cat([q, k, attention.v_proj.weight]) * before
        gate_up = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * between
        return cls(qkv, attention.o_proj.weight, gate_up, mlp.down_proj.weight, scale)


class _LayerWeights:
    def __init__(self, arranged: Arranged, dtype: torch.dtype) -> None:
        self.scale = arranged.scale
        self.qkv, self.out = Matrix(arranged.qkv, dtype), Matrix(arranged.out, dtype)
        self.gate_up, self.down = Matrix(arranged.gate_up, dtype), Matrix(arranged.down, dtype)


class Weights:
    """A network's weights as they are now, prepared for decoding in ``dtype``."""

    compiled: CompiledSteps | None = None

    @torch.no_grad()
    def __init__(self, network: Transformer | EncoderDecoder, dtype: torch.dtype) -> None:
        config = network.config
        self.dtype, self.device = dtype, network.head.device
        self.heads, self.key_heads, self.head_size = config.heads, config.key_count, config.head_size
        self.rotary_base = config.rotary_base
        self.turned = config.heads + config.key_count
        self.embedding = network.embed_tokens.weight.to(dtype, copy=True)
        self.layers = [_LayerWeights(Arranged.of(layer, config), dtype) for layer in network.layers]
        self.last = Matrix(network.head * network.norm.weight * config.width**0.5, torch.float32)
        self.floor = torch.tensor((config.width * config.eps) ** 0.5, device=self.device)
        self.head_floor = torch.tensor((config.head_size * config.eps) ** 0.5, device=self.device)

    def turns(self, span: int) -> Tensor:
        """``[span, head / 2]`` complex: what paired channels are multiplied by at each position."""
        positions = torch.arange(span, device=self.device)
        return torch.complex(*rotary_tables(positions, self.head_size, self.rotary_base))

    def queries(self, layer: _LayerWeights, x: Tensor, turn: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries ``[..., heads, head]``, keys and values ``[..., key heads, head]``, float32.

        The first two are turned by ``turn [..., 1, head / 2]``.
        """
        qkv = layer.qkv(unit(x, self.floor)).float().unflatten(-1, (-1, self.head_size))
        qk, v = qkv.narrow(-2, 0, self.turned), qkv.narrow(-2, self.turned, self.key_heads)
        if layer.scale is not None:
            qk = unit(qk, self.head_floor) * layer.scale
        pairs = torch.view_as_complex(qk.unflatten(-1, (-1, 2))) * turn
        qk = torch.view_as_real(pairs).flatten(-2)
        return qk.narrow(-2, 0, self.heads), qk.narrow(-2, self.heads, self.key_heads), v

    def feed_forward(self, layer: _LayerWeights, x: Tensor) -> Tensor:
        """``x`` plus its SwiGLU branch."""
        gate, up = layer.gate_up(unit(x, self.floor)).chunk(2, -1)
        return layer.down.add(F.silu(gate).mul_(up), x)

    def logits(self, x: Tensor) -> Tensor:
        """``[..., V]`` float32."""
        return self.last(unit(x.float(), self.floor))


class TransformerCache:
    """Keys and values ``[rows, key heads, span, head]`` a layer; a row's length is how much of it is real.

    They are in float32 until a compiled step takes them over, which keeps them in the weights' own dtype.
    """

    longest: int
    level: bool
    compiled: CompiledSteps | None = None
    """What its steps go through, where whoever steps asked for it."""

    def __init__(self, weights: Weights, rows: int, span: int) -> None:
        # One position more than none: a compiled step takes a size of 1 for a constant.
        shape = (rows, weights.key_heads, max(2, span), weights.head_size)
        self.weights, self.span, self.turns = weights, span, weights.turns(span)
        self.places = torch.arange(max(2, span), device=weights.device)
        self.keys = [torch.zeros(shape, device=weights.device) for _ in weights.layers]
        self.values = [torch.zeros(shape, device=weights.device) for _ in weights.layers]
        self.lengths = torch.zeros(rows, dtype=torch.int64, device=weights.device)
        self._measure()

    def select(self, rows: Tensor) -> Self:
        keys, values = ([part[rows] for part in parts] for parts in (self.keys, self.values))
        return self._replaced(keys, values, self.lengths[rows], self.span)

    def join(self, other: Self) -> Self:
        span = max(self.span, other.span)

        def joined(mine: list[Tensor], its: list[Tensor]) -> list[Tensor]:
            pairs = zip(mine, its, strict=True)
            return [torch.cat([_extended(one, span), _extended(two, span).to(one.dtype)]) for one, two in pairs]

        keys, values = joined(self.keys, other.keys), joined(self.values, other.values)
        return self._replaced(keys, values, torch.cat([self.lengths, other.lengths]), span)

    def empty(self, rows: int, span: int) -> TransformerCache:
        return TransformerCache(self.weights, rows, span)

    def put(self, rows: Tensor, other: Self) -> bool:
        """See `Overwriting`."""
        if other.span > self.span:
            return False
        for mine, its in zip((*self.keys, *self.values), (*other.keys, *other.values), strict=True):
            mine[rows, :, : other.longest] = its[:, :, : other.longest].to(mine.dtype)
        self.lengths = self.lengths.index_copy(0, rows, other.lengths)
        self._measure()
        return True

    @torch.no_grad()
    def prefill(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """See `TokenNetwork.prefill`."""
        if tokens.shape[1] == 1:
            return self.step(tokens[:, 0])
        width = torch.arange(tokens.shape[1], device=tokens.device)
        positions = self.lengths[:, None] + width
        rows, columns = (width < lengths[:, None]).nonzero(as_tuple=True)
        end = int((self.lengths + lengths).max())
        self._require(end)
        hidden = torch.arange(end, device=tokens.device) > positions[..., None]
        mask = torch.zeros(hidden.shape, device=tokens.device).masked_fill_(hidden, float("-inf"))[:, None]
        turn = self.turns[positions.clamp(max=self.span - 1)][:, :, None]
        x = self._embed(tokens)
        for index, layer in enumerate(self.weights.layers):
            q, k, v = self.weights.queries(layer, x, turn)
            self._store(index, k[rows, columns], v[rows, columns], (rows, positions[rows, columns]))
            out = self._attend(index, q.transpose(1, 2), end, mask).transpose(1, 2).flatten(2)
            x = self.weights.feed_forward(layer, self._read(index, layer.out.add(out.to(x.dtype), x)))
        self.lengths = self.lengths + lengths
        self._measure()
        return self._logits(x[torch.arange(len(x), device=x.device), lengths - 1])

    @torch.no_grad()
    def step(self, tokens: Tensor) -> Tensor:
        """See `TokenNetwork.step`."""
        end = self.longest + 1
        self._require(end)
        if self.compiled is not None and self.compiled.ready(len(tokens)):
            return self._compiled_step(self.compiled, tokens, end)
        turn, place, mask = self._level_step() if self.level else self._ragged_step()
        x = self._embed(tokens)
        for index, layer in enumerate(self.weights.layers):
            q, k, v = self.weights.queries(layer, x, turn)
            self._store(index, k, v, place)
            out = self._attend(index, q.unsqueeze(2), end, mask).flatten(1)
            x = self.weights.feed_forward(layer, self._read(index, layer.out.add(out.to(x.dtype), x)))
        self.lengths = self.lengths + 1
        self.longest = end
        return self._logits(x)

    def _compiled_step(self, compiled: CompiledSteps, tokens: Tensor, end: int) -> Tensor:
        if self.keys[0].dtype != compiled.dtype:
            self.keys, self.values = ([part.to(compiled.dtype) for part in parts] for parts in (self.keys, self.values))
        turn = torch.view_as_real(self.turns[self.lengths])
        logits = compiled(tokens, turn, self.places[: max(2, end)], self.lengths, self.keys, self.values)
        self.lengths = self.lengths + 1
        self.longest = end
        return logits

    def _level_step(self) -> tuple[Tensor, int, None]:
        return self.turns[self.longest], self.longest, None

    def _ragged_step(self) -> tuple[Tensor, Place, Tensor]:
        past = torch.arange(self.longest + 1, device=self.lengths.device) > self.lengths[:, None]
        mask = torch.zeros(past.shape, device=past.device).masked_fill_(past, float("-inf"))
        rows = torch.arange(len(self.lengths), device=past.device)
        return self.turns[self.lengths][:, None], (rows, self.lengths), mask[:, None, None]

    def _store(self, index: int, k: Tensor, v: Tensor, place: Place | int) -> None:
        """Put ``k`` and ``v [N, key heads, head]`` at one position of every row, or at N places."""
        for cache, new in ((self.keys[index], k), (self.values[index], v)):
            if isinstance(place, int):
                cache.select(2, place).copy_(new)
            else:
                cache[place[0], :, place[1]] = new.to(cache.dtype)

    def _attend(self, index: int, q: Tensor, end: int, mask: Tensor | None) -> Tensor:
        """``q [rows, heads, L, head]`` against the first ``end`` positions, under ``mask [rows, 1, L, end]``."""
        keys, values = (parts[index].narrow(2, 0, end).float() for parts in (self.keys, self.values))
        return attend(q, keys, values, mask)

    def _embed(self, tokens: Tensor) -> Tensor:
        """What tokens ``[rows]`` or ``[rows, L]`` enter the first layer as."""
        return self.weights.embedding[tokens]

    def _read(self, index: int, x: Tensor) -> Tensor:
        """``x [rows, D]`` or ``[rows, L, D]`` between a layer's attention and its feed-forward branch."""
        return x

    def _logits(self, x: Tensor) -> Tensor:
        """``[rows, V]`` float32 of what the last layer gave, ``[rows, D]``."""
        return self.weights.logits(x)

    def _require(self, span: int) -> None:
        if span > self.span:
            raise ValueError(f"the cache holds {self.span} tokens a row; {span} were fed")

    def _measure(self) -> None:
        """Whether all rows are equally long lets a step write one slice and skip the mask."""
        self.longest = int(self.lengths.max()) if len(self.lengths) else 0
        self.level = bool((self.lengths == self.longest).all())

    def _replaced(self, keys: list[Tensor], values: list[Tensor], lengths: Tensor, span: int) -> Self:
        new = object.__new__(type(self))
        new.weights, new.keys, new.values, new.lengths, new.span = self.weights, keys, values, lengths, span
        new.compiled = self.compiled
        new.turns = self.turns if span == self.span else self.weights.turns(span)
        new.places = torch.arange(max(2, span), device=lengths.device)
        new._measure()
        return new


def attend(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """``q [rows, heads, L, head]`` against ``[rows, key heads, S, head]``, under ``mask [rows, 1, L or 1, S]``."""
    rows, heads, length, size = q.shape
    keys, values = keys.flatten(0, 1), values.flatten(0, 1)
    scores = torch.bmm(q.reshape(len(keys), -1, size), keys.mT)
    if mask is not None:
        scores = (scores.view(rows, heads, length, -1) + mask).view(scores.shape)
    return torch.bmm(scores.softmax(-1), values).view(rows, heads, length, size)


def unit(x: Tensor, floor: Tensor) -> Tensor:
    """``x / sqrt(|x|^2 + floor^2)`` over the last axis: root-mean-square normalisation but for a factor sqrt(width)."""
    return x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(floor.to(x.dtype))


def _paired(weight: Tensor, size: int) -> Tensor:
    """Rows of each head reordered so that channel i of the first half is followed by channel i of the second."""
    halves = weight.unflatten(0, (-1, 2, size // 2))
    return halves.transpose(1, 2).flatten(0, 2)


def _extended(part: Tensor, span: int) -> Tensor:
    return F.pad(part, (0, 0, 0, max(2, span) - part.shape[2]))
