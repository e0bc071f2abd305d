"""A Transformer that encodes its conditions and decodes tokens from them.

Vaswani et al. 2017, "Attention is all you need", with the layers of `transformer` (normalisation before each branch,
rotary positions, SwiGLU, no biases) and, in every decoder layer, attention to what the encoder made of the conditions.
Conditions stand end to end in one sequence, as in Raffel et al. 2020, "T5"; positions count what is real, so padding
changes nothing. Conditions that share the target's tokenizer share its embedding. Output projections start at zero, so
the network starts as its embedding followed by its head.
"""

from __future__ import annotations

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.networks._attention import same_segment
from miaobi.networks._base import SizeTable, embed_tokens
from miaobi.networks._pointer import new_pointer
from miaobi.networks._reading import ReadingNetwork, Source, reading_conditioner, require_readable
from miaobi.networks._reading_decoding import ReadingCache, ReadingWeights
from miaobi.networks._tokens import new_embedding, new_head, require_one_vocabulary
from miaobi.networks._transformer_layers import DecoderLayer, EncoderLayer, Norm, Tables, TransformerConfig
from miaobi.types import Size, Spec

_SIZES = SizeTable(width=(64, 256, 512), depth=(2, 4, 8))


class EncoderDecoder(ReadingNetwork):
    """See the module; ``source`` and ``target`` are the same token port, and there is a condition to read."""

    class Config(TransformerConfig):
        """Shape and regularisation; ``depth`` is the decoder's."""

        encoder_depth: int = Value(4, ge=1, le=200)
        copying: bool = Value(
            False, description="tokens may be taken over from conditions that share the target's tokenizer"
        )

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """An encoder as deep as the decoder, each of the size of a `transformer`."""
        require_one_vocabulary("encoder_decoder", source, target)
        require_readable("encoder_decoder", conditions)
        width, depth = _SIZES.at(size)
        tied = source.vocabulary > 1024
        return cls.Config(width=width, depth=depth, encoder_depth=depth, heads=max(2, width // 64), tied=tied)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        require_one_vocabulary("encoder_decoder", source, target)
        self.embed_tokens = new_embedding(source.vocabulary, config.width)
        self.conditioner = reading_conditioner(
            "encoder_decoder", conditions, config.conditioner, config.width, depth=0, embedding=self.embed_tokens
        )
        for null in self.conditioner.nulls.values():
            # A null of zero would stay zero through every normalisation, and its gradient would be beyond measure.
            nn.init.normal_(null, std=config.width**-0.5)
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_depth))
        self.encoder_norm = Norm(config.width, config.eps)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.depth))
        self.norm = Norm(config.width, config.eps)
        self.lm_head = None if config.tied else new_head(config.width, target.vocabulary)
        self.dropout = nn.Dropout(config.dropout)
        if config.copying:
            how = self.conditioner.how
            self.pointer = new_pointer("encoder_decoder", conditions, how, config.width, config.width)

    @property
    def head(self) -> Tensor:
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    @property
    def limit(self) -> int | None:
        return self.source.max_length or None

    def encode(self, sequence: Tensor, mask: Tensor) -> Tensor:
        x = _cast(self.dropout(sequence))
        tables = self._tables((mask.cumsum(1) - 1).clamp(min=0), x.dtype)
        for layer in self.encoder:
            x = layer(x, tables, mask)
        return self.encoder_norm(x)  # type: ignore[no-any-return]

    def write(self, x: Tensor, read: Source, lengths: Tensor | None, segments: Tensor | None) -> Tensor:
        mask = None if segments is None else same_segment(segments)
        x = embed_tokens(self.embed_tokens, x)
        if read.vector is not None:
            x = x + read.vector[:, None]
        x = _cast(self.dropout(x))
        tables = self._tables(torch.arange(x.shape[1], device=x.device), x.dtype)
        for layer in self.layers:
            x = layer(x, tables, mask, read.sequence, read.mask)
        return self.norm(x)  # type: ignore[no-any-return]

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> ReadingCache:
        return ReadingCache(ReadingWeights(self, dtype or self.head.dtype), rows, span)

    def prefill(self, tokens: Tensor, lengths: Tensor, cache: ReadingCache) -> Tensor:
        return cache.prefill(tokens, lengths)

    def step(self, tokens: Tensor, cache: ReadingCache) -> Tensor:
        return cache.step(tokens)

    def _tables(self, positions: Tensor, dtype: torch.dtype) -> Tables:
        return Tables(positions, self.config.head_size, self.config.rotary_base, dtype)


def _cast(x: Tensor) -> Tensor:
    """As autocast has it: it leaves what is only added and looked up as it is."""
    if torch.is_autocast_enabled(x.device.type):
        return x.to(torch.get_autocast_dtype(x.device.type))
    return x
