"""A decoder-only Transformer whose weights are those of transformers' Llama, or Qwen3 with query-key normalisation.

Vaswani et al. 2017, "Attention is all you need", in the form of Touvron et al. 2023, "LLaMA": root-mean-square
normalisation before each branch, rotary positions, SwiGLU, no biases; grouped queries (Ainslie et al. 2023); query-key
normalisation (Dehghani et al. 2023) as in Qwen3 (Yang et al. 2025). Parameter names and shapes are those of
``LlamaModel`` and ``Qwen3Model``, so exporting is renaming. Output projections of both branches start at zero, so the
network starts as its embedding followed by its head.
"""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field as Value
from pydantic import model_validator
from torch import Tensor, nn

from miaobi.networks._attention import causal_attention, same_segment
from miaobi.networks._base import NetworkConfig, SizeTable, TokenNetwork, embed_tokens
from miaobi.networks._functions import rms_norm, rotary_tables, rotate, swiglu
from miaobi.networks._tokens import new_embedding, new_head, require_token_ports
from miaobi.networks._transformer_decoding import TransformerCache, Weights
from miaobi.types import Field, Size, Spec

_SIZES = SizeTable(width=(64, 256, 512), depth=(2, 4, 8))


class Transformer(TokenNetwork):
    """See the module; ``source`` and ``target`` are the same token port."""

    class Config(NetworkConfig):
        """Shape and regularisation; the defaults of None follow Llama's proportions."""

        width: int = Value(256, ge=8, le=16384)
        depth: int = Value(4, ge=1, le=200)
        heads: int = Value(4, ge=1, le=256)
        key_heads: int | None = Value(
            None, ge=1, le=256, description="heads of keys and values; None: as many as heads"
        )
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

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Head width 32 or 64; tied embeddings but for vocabularies so small that a head costs nothing."""
        require_token_ports("transformer", source, target, conditions)
        width, depth = _SIZES.at(size)
        return cls.Config(width=width, depth=depth, heads=max(2, width // 64), tied=source.vocabulary > 1024)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        require_token_ports("transformer", source, target, conditions)
        self.embed_tokens = new_embedding(source.vocabulary, config.width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.depth))
        self.norm = _Norm(config.width, config.eps)
        self.lm_head = None if config.tied else new_head(config.width, target.vocabulary)
        self.dropout = nn.Dropout(config.dropout)

    @property
    def head(self) -> Tensor:
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    @property
    def limit(self) -> int | None:
        return self.source.max_length or None

    def hidden(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        mask = None if segments is None else same_segment(segments)
        x = self.dropout(embed_tokens(self.embed_tokens, x))
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        tables = _Tables(x, self.config.head_size, self.config.rotary_base)
        for layer in self.layers:
            x = layer(x, tables, mask)
        return self.norm(x)  # type: ignore[no-any-return]

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> TransformerCache:
        return TransformerCache(Weights(self, dtype or self.head.dtype), rows, span)

    def prefill(self, tokens: Tensor, lengths: Tensor, cache: TransformerCache) -> Tensor:
        return cache.prefill(tokens, lengths)

    def step(self, tokens: Tensor, cache: TransformerCache) -> Tensor:
        return cache.step(tokens)


class _Tables:
    """Rotary tables of a sequence, in the dtype of what they turn; those of queries carry the attention's scale."""

    def __init__(self, x: Tensor, width: int, base: float) -> None:
        cos, sin = rotary_tables(torch.arange(x.shape[1], device=x.device), width, base)
        self.keys = cos.to(x.dtype), sin.to(x.dtype)
        self.queries = (cos * width**-0.5).to(x.dtype), (sin * width**-0.5).to(x.dtype)


class _Norm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.eps)


class _Attention(nn.Module):
    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.head_size, self.dropout = config.head_size, config.dropout
        queries, keys = config.heads * config.head_size, config.key_count * config.head_size
        self.q_proj = _linear(config.width, queries)
        self.k_proj = _linear(config.width, keys)
        self.v_proj = _linear(config.width, keys)
        self.o_proj = _linear(queries, config.width, zero=True)
        self.q_norm = _Norm(config.head_size, config.eps) if config.qk_norm else None
        self.k_norm = _Norm(config.head_size, config.eps) if config.qk_norm else None

    def forward(self, x: Tensor, tables: _Tables, mask: Tensor | None) -> Tensor:
        q, k, v = (self._heads(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q.transpose(1, 2), *tables.queries), rotate(k.transpose(1, 2), *tables.keys)
        out = causal_attention(q, k, v.transpose(1, 2), mask=mask, dropout=self.dropout if self.training else 0.0)
        return self.o_proj(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.head_size))


class _MLP(nn.Module):
    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.gate_proj = _linear(config.width, config.inner_size)
        self.up_proj = _linear(config.width, config.inner_size)
        self.down_proj = _linear(config.inner_size, config.width, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(swiglu(self.gate_proj(x), self.up_proj(x)))  # type: ignore[no-any-return]


class _Layer(nn.Module):
    def __init__(self, config: Transformer.Config) -> None:
        super().__init__()
        self.input_layernorm = _Norm(config.width, config.eps)
        self.self_attn = _Attention(config)
        self.post_attention_layernorm = _Norm(config.width, config.eps)
        self.mlp = _MLP(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, tables: _Tables, mask: Tensor | None) -> Tensor:
        x = x + self.dropout(self.self_attn(self.input_layernorm(x), tables, mask))
        return x + self.dropout(self.mlp(self.post_attention_layernorm(x)))  # type: ignore[no-any-return]


def _linear(inputs: int, outputs: int, *, zero: bool = False) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    if zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=inputs**-0.5)
    return layer
