"""What the recurrent language models share; they differ in the cell."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.networks._base import NetworkConfig, SizeTable, TokenNetwork, embed_tokens
from miaobi.networks._tokens import Unpacked, new_embedding, new_head, require_token_ports
from miaobi.types import Field, Size, Spec

_CELLS: dict[type[nn.RNNBase], Any] = {nn.LSTM: torch.lstm_cell, nn.GRU: torch.gru_cell, nn.RNN: torch.rnn_tanh_cell}
_SIZES = SizeTable(width=(64, 256, 512), depth=(1, 2, 3))


class Recurrent(TokenNetwork):
    """An embedding, layers of a recurrent cell, and a head.

    Dropout acts on what passes from layer to layer and to the head, never on the recurrence (Zaremba et al. 2014,
    "Recurrent neural network regularization").
    """

    cell: ClassVar[type[nn.RNNBase]]
    differentiable = True

    class Config(NetworkConfig):
        """Shape and regularisation."""

        width: int = Value(256, ge=1, le=16384, description="of embeddings")
        hidden: int = Value(512, ge=1, le=16384, description="of the cell's state")
        depth: int = Value(2, ge=1, le=32)
        dropout: float = Value(0.0, ge=0, lt=1)

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """The state is as wide as two embeddings."""
        require_token_ports(cls.__name__, source, target, conditions)
        width, depth = _SIZES.at(size)
        return cls.Config(width=width, hidden=2 * width, depth=depth)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        require_token_ports(type(self).__name__, source, target, conditions)
        between = config.dropout if config.depth > 1 else 0.0
        cell: Any = self.cell
        self.embedding = new_embedding(source.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight)
        self.layers = cell(config.width, config.hidden, config.depth, batch_first=True, dropout=between)
        initialise(self.layers)
        self.output = new_head(config.hidden, target.vocabulary)
        self.dropout = nn.Dropout(config.dropout)

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
            return self.dropout(self.layers(x)[0])  # type: ignore[no-any-return]
        rows = Unpacked(segments)
        return self.dropout(rows.merge(self.layers(rows.split(x))[0]))  # type: ignore[no-any-return]

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> RecurrentCache:
        """The state is constant in size, so ``span`` bounds nothing; arithmetic stays in the parameters' dtype."""
        count = 2 if self.cell is nn.LSTM else 1
        state = [self.head.new_zeros(self.config.depth, rows, self.config.hidden) for _ in range(count)]
        return RecurrentCache(state, torch.zeros(rows, dtype=torch.int64, device=self.head.device))

    def prefill(self, tokens: Tensor, lengths: Tensor, cache: RecurrentCache) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embedding(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, state = self.layers(packed, cache.cell_state())
        return self._advance(state, cache, lengths)

    def step(self, tokens: Tensor, cache: RecurrentCache) -> Tensor:
        # PyTorch's layers repack their weights at every call: for one token its bare cells are several times as fast.
        cell, x = _CELLS[self.cell], embed_tokens(self.embedding, tokens)
        states = []
        for layer, weights in enumerate(self.layers.all_weights):
            old = tuple(part[layer] for part in cache.state)
            new = cell(x, old if len(old) == 2 else old[0], *weights)
            states.append(new if len(old) == 2 else (new,))
            x = states[-1][0]
        return self._advance(tuple(torch.stack(parts) for parts in zip(*states, strict=True)), cache, 1)

    def _advance(self, state: Any, cache: RecurrentCache, fed: Tensor | int) -> Tensor:
        cache.state = list(state) if isinstance(state, tuple) else [state]
        cache.lengths = cache.lengths + fed
        return nn.functional.linear(cache.state[0][-1], self.head)


@torch.no_grad()
def initialise(layers: nn.RNNBase) -> None:
    """Inputs keep their variance and states their length (orthogonal: Saxe et al. 2014).

    PyTorch's own are smaller: layers above the first see next to nothing, and learning rests at the unigram for
    hundreds of steps.
    """
    for name, parameter in layers.named_parameters():
        if name.startswith("weight_ih"):
            bound = (3 / parameter.shape[1]) ** 0.5
            nn.init.uniform_(parameter, -bound, bound)
        elif name.startswith("weight_hh"):
            for gate in parameter.split(layers.hidden_size):
                nn.init.orthogonal_(gate)
        else:
            nn.init.zeros_(parameter)


class RecurrentCache:
    """The cell's state: tensors ``[depth, rows, hidden]``, two for an LSTM and one for the others."""

    def __init__(self, state: list[Tensor], lengths: Tensor) -> None:
        self.state, self.lengths = state, lengths

    def select(self, rows: Tensor) -> Self:
        return type(self)([part[:, rows] for part in self.state], self.lengths[rows])

    def join(self, other: Self) -> Self:
        state = [torch.cat(pair, 1) for pair in zip(self.state, other.state, strict=True)]
        return type(self)(state, torch.cat([self.lengths, other.lengths]))

    def empty(self, rows: int, span: int) -> Self:
        state = [part.new_zeros(len(part), rows, part.shape[2]) for part in self.state]
        return type(self)(state, self.lengths.new_zeros(rows))

    def cell_state(self) -> Any:
        """What PyTorch's cells take: a pair for an LSTM, else one tensor."""
        return tuple(self.state) if len(self.state) == 2 else self.state[0]
