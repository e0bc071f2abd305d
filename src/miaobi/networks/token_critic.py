"""A score for every token of a sequence, given the tokens before it.

The recurrent discriminator of de Masson d'Autume et al. 2019, "Training language GANs from scratch": because each score
sees the past alone, it says at which token a sequence stops looking real.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._base import Network, NetworkConfig, SizeTable, embed_tokens
from miaobi.networks._heads import Head
from miaobi.networks._recurrent import initialise
from miaobi.types import Field, Form, Size, Spec

_SIZES = SizeTable(width=(32, 128, 256), depth=(1, 1, 2))


class TokenCritic(Network):
    """An embedding, layers of LSTM, and a linear head: tokens to a tensor along the sequence.

    ``forward(x)`` takes integers ``[B, L]`` or probabilities ``[B, L, V]`` and gives ``[B, C, L]`` float32; number t
    sees tokens up to t.
    """

    class Config(NetworkConfig):
        """Shape and regularisation."""

        width: int = Value(128, ge=1, le=16384, description="of embeddings")
        hidden: int = Value(256, ge=1, le=16384, description="of the LSTM's state")
        depth: int = Value(1, ge=1, le=32)
        dropout: float = Value(0.1, ge=0, lt=1, description="of embeddings and of what the head sees")

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """The state is as wide as two embeddings."""
        _require_ports(source, target, conditions)
        width, depth = _SIZES.at(size)
        return cls.Config(width=width, hidden=2 * width, depth=depth)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        _require_ports(source, target, conditions)
        self.embedding = nn.Embedding(source.vocabulary, config.width)
        self.layers = nn.LSTM(config.width, config.hidden, config.depth, batch_first=True)
        initialise(self.layers)
        self.dropout = nn.Dropout(config.dropout)
        self.head = Head(config.hidden, target.channels)

    def forward(self, x: Tensor, conditions: dict[str, Field] | None = None, **inputs: Any) -> Tensor:
        embedded = self.dropout(embed_tokens(self.embedding, x))
        scores: Tensor = self.head(self.dropout(self.layers(embedded)[0]))
        return scores.transpose(1, 2)


def _require_ports(source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
    if source.form is not Form.TOKENS or target.form is not Form.TENSOR or target.dims != 1:
        raise Unsupported(
            "token_critic maps tokens to numbers along the sequence",
            given=f"{source.form} to {target.form} of {target.dims} axes",
            cure="use convolutional or mlp for tensors, lstm or transformer for tokens to tokens",
        )
    if conditions:
        raise Unsupported(
            "token_critic takes its conditions as a prefix of tokens, which the family lays out",
            given=sorted(conditions),
            cure="use a family that does, such as text_gan",
        )
