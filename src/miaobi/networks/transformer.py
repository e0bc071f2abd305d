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
from torch import Tensor, nn

from miaobi.networks._attention import same_segment
from miaobi.networks._base import SizeTable, TokenNetwork, embed_tokens
from miaobi.networks._compiled_decoding import compile_steps, forget_steps, weights_of
from miaobi.networks._tokens import new_embedding, new_head, require_token_ports
from miaobi.networks._transformer_decoding import TransformerCache
from miaobi.networks._transformer_layers import Layer, Norm, Tables, TransformerConfig
from miaobi.types import Field, Size, Spec

_SIZES = SizeTable(width=(64, 256, 512), depth=(2, 4, 8))


class Transformer(TokenNetwork):
    """See the module; ``source`` and ``target`` are the same token port."""

    class Config(TransformerConfig):
        """Shape and regularisation."""

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
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.depth))
        self.norm = Norm(config.width, config.eps)
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
        positions = torch.arange(x.shape[1], device=x.device)
        tables = Tables(positions, self.config.head_size, self.config.rotary_base, x.dtype)
        for layer in self.layers:
            x = layer(x, tables, mask)
        return self.norm(x)  # type: ignore[no-any-return]

    def train(self, mode: bool = True) -> Self:
        """Steps that were compiled are those of the weights before training."""
        if mode:
            forget_steps(self)
        return super().train(mode)

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> TransformerCache:
        return TransformerCache(weights_of(self, dtype or self.head.dtype), rows, span)

    def prefill(self, tokens: Tensor, lengths: Tensor, cache: TransformerCache) -> Tensor:
        return cache.prefill(tokens, lengths)

    def step(self, tokens: Tensor, cache: TransformerCache) -> Tensor:
        return cache.step(tokens)

    def compile_steps(self, cache: TransformerCache, rows: int) -> None:
        """Compile `step` over ``cache`` and those selected and joined from it, for one row or for any number above one.

        Raises:
            Unsupported: another device than a processor, no compiler, or one that fails.
        """
        compile_steps(self, cache.weights, rows)
        cache.compiled = cache.weights.compiled

    def steps_compiled(self, cache: TransformerCache, rows: int) -> bool:
        """Whether `step` over so many rows is compiled; ``cache`` uses it from now on."""
        cache.compiled = cache.weights.compiled
        return cache.compiled is not None and cache.compiled.ready(rows)

    def drop_steps(self, cache: TransformerCache, rows: int) -> None:
        """Go on without the compiled step for so many rows."""
        if cache.weights.compiled is not None:
            cache.weights.compiled.drop(rows)
