"""A recurrent encoder and a recurrent decoder that attends to it.

Bahdanau et al. 2015, "Neural machine translation by jointly learning to align and translate": a bidirectional GRU reads
(the conditioner's token encoder), a GRU writes and attends. As in Luong et al. 2015, "Effective approaches to
attention-based neural machine translation", the current state attends, and state and context are mixed before the head;
as in Wu et al. 2016, "Google's neural machine translation system", it is the bottom layer that attends, and the layers
above it read the context: no layer waits for another's past, so a whole sequence is trained at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.networks._attention import Look
from miaobi.networks._base import NetworkConfig, SizeTable, embed_tokens
from miaobi.networks._heads import linear
from miaobi.networks._pointer import new_pointer
from miaobi.networks._reading import Memory, ReadingNetwork, Source, reading_conditioner, require_readable
from miaobi.networks._recurrent import RecurrentCache, initialise
from miaobi.networks._tokens import Unpacked, new_embedding, new_head, require_one_vocabulary
from miaobi.types import Size, Spec

_SIZES = SizeTable(width=(64, 256, 512), depth=(1, 2, 3))
State = tuple[Tensor, Tensor | None]
"""Of the bottom layer ``[1, rows, hidden]`` and of those above it ``[depth - 1, rows, hidden]``."""


class AttentiveRecurrent(ReadingNetwork):
    """See the module. The first state is made of the mean of what is read."""

    class Config(NetworkConfig):
        """Shape and regularisation."""

        width: int = Value(256, ge=1, le=16384, description="of embeddings and of what is read")
        hidden: int = Value(512, ge=1, le=16384, description="of the decoder's state")
        depth: int = Value(2, ge=1, le=32, description="layers of the decoder")
        encoder_depth: int = Value(1, ge=0, le=12, description="layers of the token encoders")
        score: Literal["general", "additive"] = Value(
            "general", description="general: bilinear (Luong); additive: a hidden layer (Bahdanau), with more memory"
        )
        dropout: float = Value(0.0, ge=0, lt=1)
        copying: bool = Value(
            False, description="tokens may be taken over from conditions that share the target's tokenizer"
        )

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Of the size of a `gru`, beside an encoder as deep as the decoder."""
        require_one_vocabulary("attentive_recurrent", source, target)
        require_readable("attentive_recurrent", conditions)
        width, depth = _SIZES.at(size)
        return cls.Config(width=width, hidden=2 * width, depth=depth, encoder_depth=depth)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        require_one_vocabulary("attentive_recurrent", source, target)
        self.conditioner = reading_conditioner(
            "attentive_recurrent", conditions, config.conditioner, config.width, config.encoder_depth
        )
        self.embedding = new_embedding(source.vocabulary, config.width)
        nn.init.normal_(self.embedding.weight)
        self.start = linear(config.width, config.hidden)
        self.bottom = _layers(config.width, config.hidden, 1)
        self.attention = _SCORES[config.score](config.hidden, config.width)
        self.upper = (
            _layers(config.hidden + config.width, config.hidden, config.depth - 1) if config.depth > 1 else None
        )
        self.mix = linear(config.hidden + config.width, config.hidden)
        self.output = new_head(config.hidden, target.vocabulary)
        self.dropout = nn.Dropout(config.dropout)
        if config.copying:
            how = self.conditioner.how
            self.pointer = new_pointer("attentive_recurrent", conditions, how, config.hidden, config.width)

    @property
    def head(self) -> Tensor:
        return self.output.weight

    def encode(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """The conditioner's own encoders have done it."""
        return sequence

    def write(self, x: Tensor, read: Source, lengths: Tensor | None, segments: Tensor | None) -> Tensor:
        x = embed_tokens(self.embedding, x)
        if segments is None:
            return self._write(x, self.prepare(read), self.first(read), None)[0]
        rows = Unpacked(segments)
        read = read.select(rows.owners)
        return rows.merge(self._write(rows.split(x), self.prepare(read), self.first(read), None)[0])

    def prepare(self, read: Source) -> Memory:
        """What is attended to, with its part of the scores."""
        keys = [self.attention.keys(read.sequence)]
        if self.pointer is not None:
            keys.append(self.pointer.key(read.sequence))
        return Memory(keys, [read.sequence], read.mask, read.vector, read.tokens)

    def first(self, read: Source) -> State:
        """The states before the first token."""
        weights = read.mask.to(read.sequence.dtype)
        mean = (read.sequence * weights[..., None]).sum(1) / weights.sum(1, keepdim=True)
        bottom = self.start(mean).tanh()[None]
        above = self.config.depth - 1
        return bottom, bottom.new_zeros(above, *bottom.shape[1:]) if above else None

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> AttentiveCache:
        """The state is constant in size, so ``span`` bounds nothing; arithmetic stays in the parameters' dtype."""
        return AttentiveCache([], torch.zeros(rows, dtype=torch.int64, device=self.head.device))

    @torch.no_grad()
    def prefill(self, tokens: Tensor, lengths: Tensor, cache: AttentiveCache) -> Tensor:
        memory = self._begin(cache)
        hidden, state = self._write(self.embedding(tokens), memory, cache.layers(), lengths)
        last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        return self._advance(last, state, memory, cache, lengths)

    @torch.no_grad()
    def step(self, tokens: Tensor, cache: AttentiveCache) -> Tensor:
        # PyTorch's layers repack their weights at every call: for one token its bare cells are several times as fast.
        memory, (bottom, above) = self._begin(cache), cache.layers()
        x = self.embedding(tokens)
        x = x if memory.vector is None else x + memory.vector
        state = torch.gru_cell(x, bottom[0], *self.bottom.all_weights[0])
        context = self.attention(state[:, None], memory)[:, 0]
        top, states = state, []
        if self.upper is not None and above is not None:
            x = torch.cat([state, context], -1)
            for old, weights in zip(above, self.upper.all_weights, strict=True):
                states.append(torch.gru_cell(x, old, *weights))
                x = states[-1]
            top = x
        hidden = self.mix(torch.cat([top, context], -1)).tanh()
        return self._advance(hidden, (state[None], torch.stack(states) if states else None), memory, cache, 1)

    def _begin(self, cache: AttentiveCache) -> Memory:
        """A cache's memory, made when it is first fed."""
        if cache.memory is None:
            read = self.read({}, len(cache.lengths)) if cache.told is None else cache.told
            cache.memory, cache.told = self.prepare(read), None
            cache.state = [part for part in self.first(read) if part is not None]
        return cache.memory

    def _write(self, x: Tensor, memory: Memory, state: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """Embeddings ``[B, L, width]`` to what the head takes ``[B, L, hidden]``, and the states after ``lengths``."""
        x = x if memory.vector is None else x + memory.vector[:, None]
        bottom, last = _run(self.bottom, self.dropout(x), state[0], lengths)
        context, top, above = self.attention(bottom, memory), bottom, state[1]
        if self.upper is not None and above is not None:
            top, above = _run(self.upper, self.dropout(torch.cat([bottom, context], -1)), above, lengths)
        mixed = self.mix(torch.cat([top, context], -1)).tanh()
        return self.dropout(mixed), (last, above)

    def _advance(
        self, hidden: Tensor, state: State, memory: Memory, cache: AttentiveCache, fed: Tensor | int
    ) -> Tensor:
        cache.state = [part for part in state if part is not None]
        cache.lengths = cache.lengths + fed
        logits = nn.functional.linear(hidden, self.head)
        if self.pointer is None:
            return logits
        keys, mask, tokens = memory.keys[-1], memory.mask, memory.tokens
        return self.pointer(hidden[:, None], keys, mask, tokens, logits[:, None])[:, 0]  # type: ignore[no-any-return]


class _General(nn.Module):
    """Score of a state and a key: a bilinear form."""

    looks = Look.ACROSS

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.query = linear(hidden, width)
        self.scale = width**-0.5

    def keys(self, sequence: Tensor) -> Tensor:
        """``[B, S, width]``."""
        return sequence

    def forward(self, states: Tensor, memory: Memory) -> Tensor:
        """Contexts ``[B, L, width]`` of states ``[B, L, hidden]``."""
        return _context(self._shares(states, memory), memory)

    def weights(self, states: Tensor, memory: Memory) -> Tensor:
        """See `Attending`: one head."""
        return self._shares(states, memory)[:, None]

    def _shares(self, states: Tensor, memory: Memory) -> Tensor:
        return _shares(self.query(states) * self.scale @ memory.keys[0].mT, memory)


class _Additive(nn.Module):
    """Score of a state and a key: a hidden layer; holds ``B * L * S * width`` numbers."""

    looks = Look.ACROSS

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.query, self.key = linear(hidden, width), linear(width, width)
        self.out = nn.Parameter(torch.randn(width) * width**-0.5)

    def keys(self, sequence: Tensor) -> Tensor:
        """``[B, S, width]``."""
        return self.key(sequence)  # type: ignore[no-any-return]

    def forward(self, states: Tensor, memory: Memory) -> Tensor:
        """Contexts ``[B, L, width]`` of states ``[B, L, hidden]``."""
        return _context(self._shares(states, memory), memory)

    def weights(self, states: Tensor, memory: Memory) -> Tensor:
        """See `Attending`: one head."""
        return self._shares(states, memory)[:, None]

    def _shares(self, states: Tensor, memory: Memory) -> Tensor:
        joint = (self.query(states)[:, :, None] + memory.keys[0][:, None]).tanh()
        return _shares(joint @ self.out, memory)


_SCORES: dict[str, type[_General] | type[_Additive]] = {"general": _General, "additive": _Additive}


def _shares(scores: Tensor, memory: Memory) -> Tensor:
    """How much is taken of each that is read, ``[B, L, S]``."""
    return scores.masked_fill(~memory.mask[:, None], float("-inf")).softmax(-1)


def _context(shares: Tensor, memory: Memory) -> Tensor:
    return shares @ memory.values[0].to(shares.dtype)


def _layers(inputs: int, hidden: int, depth: int) -> nn.GRU:
    layers = nn.GRU(inputs, hidden, depth, batch_first=True)
    initialise(layers)
    return layers


def _run(layers: nn.GRU, x: Tensor, state: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Outputs ``[B, L, hidden]`` and the states after each row's ``lengths``."""
    state = state.to(x.dtype)
    if lengths is None:
        return layers(x, state)  # type: ignore[no-any-return]
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    out, state = layers(packed, state)
    return nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])[0], state


class AttentiveCache(RecurrentCache):
    """The decoder's states, and what its rows read: told, and prepared when it is first fed."""

    memory: Memory | None = None
    told: Source | None = None

    def tell(self, sources: Sequence[Source]) -> None:
        """What each row reads, before anything is fed."""
        self.told = Source.gather(sources)

    def layers(self) -> State:
        """The states as `AttentiveRecurrent` has them."""
        return self.state[0], self.state[1] if len(self.state) > 1 else None

    def select(self, rows: Tensor) -> Self:
        chosen = super().select(rows)
        chosen.memory = None if self.memory is None else self.memory.select(rows)
        chosen.told = None if self.told is None else self.told.select(rows)
        return chosen

    def join(self, other: Self) -> Self:
        """Both have been fed."""
        both: Any = super().join(other)
        both.memory = self.memory.join(other.memory) if self.memory and other.memory else None
        return both

    def empty(self, rows: int, span: int) -> Self:
        return type(self)([], self.lengths.new_zeros(rows))
