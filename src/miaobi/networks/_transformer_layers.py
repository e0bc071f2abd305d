"""The layers that Transformers over tokens are made of; the module `transformer` cites where they come from."""

from __future__ import annotations

from typing import ClassVar, Self

import torch
from pydantic import Field as Value
from pydantic import model_validator
from torch import Tensor, nn

from miaobi.networks._attention import Look, causal_attention, causal_weights
from miaobi.networks._base import NetworkConfig
from miaobi.networks._full_attention import full_attention, full_weights, join_heads
from miaobi.networks._functions import rms_norm, rotary_tables, rotate, swiglu


class TransformerConfig(NetworkConfig):
    """Shape and regularisation; the defaults of None follow Llama's proportions."""

    width: int = Value(256, ge=8, le=16384)
    depth: int = Value(4, ge=1, le=200)
    heads: int = Value(4, ge=1, le=256)
    key_heads: int | None = Value(None, ge=1, le=256, description="heads of keys and values; None: as many as heads")
    head_width: int | None = Value(None, ge=2, le=1024, description="None: width / heads")
    inner: int | None = Value(None, ge=8, le=65536, description="width inside SwiGLU; None: 8/3 of width, in 32s")
    qk_norm: bool = Value(True, description="normalise queries and keys (Qwen3); false is Llama")
    tied: bool = Value(True, description="one matrix for embedding and head")
    dropout: float = Value(0.0, ge=0, lt=1, description="on embeddings, attention weights and branch outputs")
    rotary_base: float = Value(10000.0, gt=1, le=1e9)
    eps: float = Value(1e-6, gt=0, le=1e-2)

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.head_width is None and self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide into {self.heads} heads")
        if self.head_size % 2:
            raise ValueError(f"head width {self.head_size} is odd; rotary positions need pairs")
        if self.heads % self.key_count:
            raise ValueError(f"{self.heads} heads do not divide into {self.key_count} key heads")
        return self

    @property
    def head_size(self) -> int:
        """Channels of a head."""
        return self.head_width or self.width // self.heads

    @property
    def key_count(self) -> int:
        """Heads of keys and values."""
        return self.key_heads or self.heads

    @property
    def inner_size(self) -> int:
        """Width inside SwiGLU."""
        return self.inner or max(32, round(self.width * 8 / 3 / 32) * 32)


class Tables:
    """Rotary tables in the dtype of what they turn; those of queries carry the attention's scale.

    Args:
        positions: ``[L]``, or ``[B, L]`` where rows differ.
        width: channels of a head.
        base: of the rotation's wave lengths.
        dtype: of what is turned.
    """

    def __init__(self, positions: Tensor, width: int, base: float, dtype: torch.dtype) -> None:
        cos, sin = rotary_tables(positions if positions.ndim == 1 else positions[:, None], width, base)
        self.keys = cos.to(dtype), sin.to(dtype)
        self.queries = (cos * width**-0.5).to(dtype), (sin * width**-0.5).to(dtype)


class Norm(nn.Module):
    """Root-mean-square normalisation of the last axis."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class _Projections(nn.Module):
    """What every attention has: grouped heads of queries, keys and values, and a way out that starts at zero."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.head_size, self.rate = config.head_size, config.dropout
        self.groups = config.heads // config.key_count
        queries, keys = config.heads * config.head_size, config.key_count * config.head_size
        self.q_proj = linear(config.width, queries)
        self.k_proj = linear(config.width, keys)
        self.v_proj = linear(config.width, keys)
        self.o_proj = linear(queries, config.width, zero=True)
        self.q_norm = Norm(config.head_size, config.eps) if config.qk_norm else None
        self.k_norm = Norm(config.head_size, config.eps) if config.qk_norm else None

    @property
    def dropout(self) -> float:
        """Share of attention weights dropped, as things are."""
        return self.rate if self.training else 0.0

    def heads(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised queries of ``x``, keys and values of ``memory``: ``[B, heads, L, head]`` each."""
        q, k, v = (
            proj(part).unflatten(-1, (-1, self.head_size))
            for proj, part in ((self.q_proj, x), (self.k_proj, memory), (self.v_proj, memory))
        )
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def spread(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values for every head of the queries."""
        if self.groups == 1:
            return k, v
        return k.repeat_interleave(self.groups, dim=1), v.repeat_interleave(self.groups, dim=1)


class Attention(_Projections):
    """Each position attends to itself and those before it; ``mask [B, L, L]`` (causal already) is for packed rows."""

    looks = Look.BACK

    def forward(self, x: Tensor, tables: Tables, mask: Tensor | None) -> Tensor:
        q, k, v = self.heads(x, x)
        q, k = rotate(q, *tables.queries), rotate(k, *tables.keys)
        out = causal_attention(q, k, v, mask=mask, dropout=self.dropout)
        return self.o_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, tables: Tables, mask: Tensor | None) -> Tensor:
        """See `Attending`."""
        q, k, _ = self.heads(x, x)
        return causal_weights(rotate(q, *tables.queries), rotate(k, *tables.keys), mask)


class FullAttention(_Projections):
    """Each position attends to all that ``mask [B, L]`` says are real."""

    looks = Look.AROUND

    def forward(self, x: Tensor, tables: Tables, mask: Tensor | None) -> Tensor:
        q, k, v = self.heads(x, x)
        q, k = rotate(q, *tables.queries), rotate(k, *tables.keys)
        out = full_attention(q, *self.spread(k, v), mask, self.dropout)
        return self.o_proj(join_heads(out))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, tables: Tables, mask: Tensor | None) -> Tensor:
        """See `Attending`."""
        q, k, v = self.heads(x, x)
        q, k = rotate(q, *tables.queries), rotate(k, *tables.keys)
        return full_weights(q, self.spread(k, v)[0], mask)


class CrossAttention(_Projections):
    """Each position of ``x [B, L, D]`` attends to what is real of ``memory [B, S, D]``, wherever it stands."""

    looks = Look.ACROSS

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.heads(x, memory)
        out = full_attention(q * self.head_size**-0.5, *self.spread(k, v), mask, self.dropout)
        return self.o_proj(join_heads(out))  # type: ignore[no-any-return]

    def weights(self, x: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """See `Attending`."""
        q, k, v = self.heads(x, memory)
        return full_weights(q * self.head_size**-0.5, self.spread(k, v)[0], mask)


class MLP(nn.Module):
    """SwiGLU between two maps; the way out starts at zero."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gate_proj = linear(config.width, config.inner_size)
        self.up_proj = linear(config.width, config.inner_size)
        self.down_proj = linear(config.inner_size, config.width, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Attention and an MLP, each normalised before and added to the residual stream."""

    attention: ClassVar[type[Attention] | type[FullAttention]] = Attention

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.input_layernorm = Norm(config.width, config.eps)
        self.self_attn = self.attention(config)
        self.post_attention_layernorm = Norm(config.width, config.eps)
        self.mlp = MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, tables: Tables, mask: Tensor | None) -> Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), tables, mask))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))  # type: ignore[no-any-return]


class EncoderLayer(Layer):
    """A layer whose positions see all real ones."""

    attention = FullAttention


class DecoderLayer(Layer):
    """A layer that attends to a memory between its attention and its MLP."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.cross_attention_layernorm = Norm(config.width, config.eps)
        self.cross_attn = CrossAttention(config)

    def forward(  # type: ignore[override]
        self, x: Tensor, tables: Tables, mask: Tensor | None, memory: Tensor, real: Tensor
    ) -> Tensor:
        """``memory [B, S, D]`` is attended to where ``real [B, S]``."""
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), tables, mask))
        x = x + self.dropout(self.cross_attn(self.cross_attention_layernorm(x), memory, real))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))  # type: ignore[no-any-return]


def linear(inputs: int, outputs: int, *, zero: bool = False) -> nn.Linear:
    """A map without biases that keeps its input's variance, or starts at zero."""
    layer = nn.Linear(inputs, outputs, bias=False)
    if zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=inputs**-0.5)
    return layer
