"""A bidirectional Transformer over tokens: every position sees every other.

Devlin et al. 2019, "BERT: Pre-training of deep bidirectional Transformers for language understanding", with the layers
of `transformer` (normalisation before each branch, rotary positions, SwiGLU, no biases). What comes out is a
distribution over tokens at every position, or one vector made of the mean over positions; everything before that has
the same parameter names in both, so that a classifier can start from a masked language model. Output projections start
at zero, so the network starts as its embedding followed by its head.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._base import Network, SizeTable, embed_tokens
from miaobi.networks._heads import Head, require_how
from miaobi.networks._tokens import new_embedding, new_head, require_one_vocabulary
from miaobi.networks._transformer_layers import EncoderLayer, Norm, Tables, TransformerConfig
from miaobi.types import Field, Form, Size, Spec

_SIZES = SizeTable(width=(64, 256, 512), depth=(2, 4, 8))


class Encoder(Network):
    """See the module; conditions are added to every token's embedding."""

    class Config(TransformerConfig):
        """Shape and regularisation; ``tied`` means nothing where a vector comes out."""

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Of the size of a `transformer`; tied embeddings but for vocabularies so small that a head costs nothing."""
        _check(source, target)
        width, depth = _SIZES.at(size)
        return cls.Config(width=width, depth=depth, heads=max(2, width // 64), tied=source.vocabulary > 1024)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        _check(source, target)
        self.embed_tokens = new_embedding(source.vocabulary, config.width)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.depth))
        self.norm = Norm(config.width, config.eps)
        pools = target.form is Form.TENSOR
        self.lm_head = None if pools or config.tied else new_head(config.width, target.vocabulary)
        self.output = Head(config.width, target.size) if pools else None
        self.dropout = nn.Dropout(config.dropout)
        self.conditioner = self.make_conditioner(config.width)
        require_how("encoder", self.conditioner, "vector")

    @property
    def head(self) -> Tensor:
        """``[V, D]``: logits over tokens are ``hidden @ head.T``."""
        return self.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def hidden(self, x: Tensor, conditions: dict[str, Field] | None = None, real: Tensor | None = None) -> Tensor:
        """What the heads read, ``[B, L, D]``; positions outside ``real [B, L]`` are seen by none, and mean nothing.

        Every row has a real position at least, and its real ones first.
        """
        x = embed_tokens(self.embed_tokens, x)
        if self.conditioner is not None:
            told = self.conditioner(conditions, len(x)).vector
            x = x if told is None else x + told[:, None]
        x = self.dropout(x)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        positions = torch.arange(x.shape[1], device=x.device)
        tables = Tables(positions, self.config.head_size, self.config.rotary_base, x.dtype)
        for layer in self.layers:
            x = layer(x, tables, real)
        return self.norm(x)  # type: ignore[no-any-return]

    def forward(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        *,
        real: Tensor | None = None,
        logits: bool = True,
        **inputs: Any,
    ) -> Tensor:
        """``x [B, L]`` int64 (or probabilities ``[B, L, V]``) to the target; with ``logits=False`` to `hidden`."""
        hidden = self.hidden(x, conditions, real)
        if not logits:
            return hidden
        if self.output is None:
            return nn.functional.linear(hidden, self.head)
        return self.output(mean(hidden, real))  # type: ignore[no-any-return]


def mean(hidden: Tensor, real: Tensor | None) -> Tensor:
    """``[B, D]`` float32: the mean of ``hidden [B, L, D]`` over the positions that are ``real [B, L]``."""
    hidden = hidden.float()
    if real is None:
        return hidden.mean(1)
    return (hidden * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def _check(source: Spec, target: Spec) -> None:
    if source.form is Form.TOKENS and target.form is Form.TENSOR:
        if target.space:
            raise Unsupported(
                "encoder makes tokens or one vector of tokens",
                given=f"a target of extents {target.space}",
                cure="use convolutional for images and sound",
            )
        return
    require_one_vocabulary("encoder", source, target)
