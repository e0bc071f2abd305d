"""A recurrent network over columns of interleaved streams, told what stands beside each column.

For voices that move together: a GRU goes from column to column, and within a column each stream's token is predicted
from those above it, as in Boulanger-Lewandowski et al. 2012, "Modeling temporal dependencies in high-dimensional
sequences" (RNN-NADE). What is read is not attended to but aligned: a bidirectional GRU reads the condition's columns,
and column t is written from what was read at t, which knows what is to come; so Hadjeres et al. 2017, "DeepBach".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks import _columns
from miaobi.networks._base import NetworkConfig, SizeTable, embed_tokens
from miaobi.networks._columns import ColumnCache, by_columns, sinusoids, sounding
from miaobi.networks._heads import linear
from miaobi.networks._reading import ReadingNetwork, Source, reading_conditioner, require_readable
from miaobi.networks._recurrent import initialise
from miaobi.networks._tokens import Unpacked, new_embedding, new_head, require_one_vocabulary
from miaobi.types import Field, Size, Spec

_SIZES = SizeTable(width=(32, 128, 256), depth=(1, 2, 3))
_BLOCKS = 2
_NEVER = -1
"""No token."""


class InterleavedRecurrent(ReadingNetwork):
    """See the module. One token (the begin token) stands before the first column.

    A stream whose token is the port's ``hold`` is seen as what it holds, so a whole chord is in sight at each step.
    """

    class Config(NetworkConfig):
        """Shape and regularisation."""

        width: int = Value(128, ge=1, le=16384, description="of embeddings and of what is read")
        hidden: int = Value(256, ge=1, le=16384, description="of the state, and within a column")
        depth: int = Value(2, ge=1, le=32, description="layers from column to column")
        encoder_depth: int = Value(1, ge=1, le=12, description="layers of the reader")
        dropout: float = Value(0.0, ge=0, lt=1)

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """The state is as wide as two embeddings."""
        require_one_vocabulary("interleaved_recurrent", source, target)
        require_readable("interleaved_recurrent", conditions)
        width, depth = _SIZES.at(size)
        return cls.Config(width=width, hidden=2 * width, depth=depth)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        require_one_vocabulary("interleaved_recurrent", source, target)
        self.conditioner = reading_conditioner(
            "interleaved_recurrent", conditions, config.conditioner, config.width, depth=0
        )
        _require_one_sequence(self.conditioner.how)
        width, hidden, streams = config.width, config.hidden, source.streams
        self.gather = linear(streams * width, width)
        self.reader = nn.GRU(width, width, config.encoder_depth, batch_first=True, bidirectional=True)
        initialise(self.reader)
        self.read_out = linear(2 * width, width)
        self.embedding = new_embedding(source.vocabulary, width)
        self._place_tokens()
        self.hold = _NEVER if source.hold is None else source.hold
        self.held = None if source.hold is None else nn.Parameter(torch.randn(width))
        self.column = linear((streams + 1) * width, hidden)
        self.layers = nn.GRU(hidden, hidden, config.depth, batch_first=True)
        initialise(self.layers)
        # A stream is predicted from the state, the column before, what is read, the streams above, and which it is.
        self.above = nn.ModuleList(nn.Linear(width, hidden, bias=False) for _ in range(streams - 1))
        self.beside = linear(2 * hidden + width, hidden)
        self.stream = nn.Parameter(torch.randn(streams, hidden))
        self.inner = nn.ModuleList(_Gated(hidden) for _ in range(_BLOCKS))
        self.norm = nn.LayerNorm(hidden)
        self.output = new_head(hidden, target.vocabulary)
        self.dropout = nn.Dropout(config.dropout)

    @property
    def head(self) -> Tensor:
        return self.output.weight

    @property
    def streams(self) -> int:
        """Tokens of a column."""
        return self.source.streams

    def read(self, conditions: dict[str, Field] | None, rows: int) -> Source:  # type: ignore[override]
        """A column for each column of the condition."""
        told = self.conditioner(dict(conditions or {}), rows)
        mask = by_columns(told.mask[..., None], self.streams).flatten(2).any(-1)
        nothing = torch.full(mask.shape, -1, device=mask.device)
        return Source(self.encode(told.sequence, told.mask), mask, told.vector, nothing)

    def encode(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """``[B, T, width]``: what is read at each column, zero past the end."""
        x = self.gather(by_columns(sequence * mask[..., None], self.streams).flatten(2))
        x = self.dropout(x + sinusoids(torch.arange(x.shape[1], device=x.device), x.shape[2]))
        columns = by_columns(mask[..., None], self.streams).flatten(2).any(-1)
        packed = nn.utils.rnn.pack_padded_sequence(x, columns.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        x, _ = nn.utils.rnn.pad_packed_sequence(self.reader(packed)[0], batch_first=True, total_length=x.shape[1])
        return self.read_out(x) * columns[..., None]  # type: ignore[no-any-return]

    def write(self, x: Tensor, read: Source, lengths: Tensor | None, segments: Tensor | None) -> Tensor:
        if segments is None:
            return self._write(x, read)
        rows = Unpacked(segments)
        return rows.merge(self._write(rows.split(x), read.select(rows.owners)))

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> ColumnCache:
        """Constant in size, so ``span`` bounds nothing; arithmetic stays in the parameters' dtype."""
        # The last of the states is what the first layer took in.
        sizes = (self.config.depth + 1, self.config.hidden, self.streams, self.config.width)
        return ColumnCache.new(rows, sizes, self.head)

    @torch.no_grad()
    def prefill(self, tokens: Tensor, lengths: Tensor, cache: ColumnCache) -> Tensor:
        return _columns.prefill(self.step, tokens, lengths, cache)

    @torch.no_grad()
    def step(self, tokens: Tensor, cache: ColumnCache) -> Tensor:
        told, rows = cache.beside(self._unread), torch.arange(len(tokens), device=tokens.device)
        place = (cache.lengths - 1) % self.streams
        hold = tokens == self.hold
        cache.notes[rows, place] = torch.where(hold[:, None], cache.notes[rows, place], self.embedding(tokens))
        seen = cache.notes[rows, place]
        cache.column[rows, place] = seen if self.held is None else seen + hold[:, None] * self.held
        cache.lengths = cache.lengths + 1
        at = (cache.lengths - 1) // self.streams
        beside = told.at(at) + sinusoids(at, self.config.width)
        full = place == self.streams - 1
        if bool(full.any()):
            self._next_column(cache, beside, full)
        return F.linear(self._within(cache, beside), self.head)

    def _next_column(self, cache: ColumnCache, beside: Tensor, full: Tensor) -> None:
        """Move the rows whose column is full to the next one."""
        # PyTorch's layers repack their weights at every call: for one token its bare cells are several times as fast.
        taken = x = self.column(torch.cat([cache.column.flatten(1), beside], -1))
        reached = []
        for old, weights in zip(cache.state, self.layers.all_weights, strict=False):
            x = torch.gru_cell(x, old, *weights)
            reached.append(x)
        pairs = zip([*reached, taken], cache.state, strict=True)
        cache.state = [torch.where(full[:, None], new, old) for new, old in pairs]
        cache.column = cache.column * ~full[:, None, None]

    def _within(self, cache: ColumnCache, beside: Tensor) -> Tensor:
        """What the head takes ``[rows, hidden]``, from the streams of the column that are there."""
        x = self.beside(torch.cat([*cache.state[-2:], beside], -1))
        for number, project in enumerate(self.above):
            x = x + project(cache.column[:, number])
        return self._mixed(x + self.stream[cache.lengths.sub(1) % self.streams])

    def _write(self, x: Tensor, read: Source) -> Tensor:
        length, streams = x.shape[1], self.streams
        ids = x.argmax(-1) if torch.is_floating_point(x) else x
        notes = by_columns(F.pad(embed_tokens(self.embedding, x), (0, 0, streams - 1, 0)), streams)
        hold = by_columns(F.pad(ids == self.hold, (streams - 1, 0))[..., None], streams)
        notes = sounding(notes, hold[..., 0])
        if self.held is not None:
            notes = notes + hold * self.held
        steps = notes.shape[1]
        beside = read.sequence * read.mask[..., None]
        beside = F.pad(beside, (0, 0, 0, max(0, steps - beside.shape[1])))[:, :steps]
        if read.vector is not None:
            beside = beside + read.vector[:, None]
        beside = beside + sinusoids(torch.arange(steps, device=x.device), self.config.width)
        taken = self.column(torch.cat([notes.flatten(2), beside], -1))
        state, _ = self.layers(self.dropout(taken))
        base = self.beside(torch.cat([self.dropout(state), taken, beside], -1))
        # Column t is predicted after column t - 1, which is what stands at row t of the input.
        current = F.pad(notes[:, 1:], (0, 0, 0, 0, 0, 1))
        sums = [base]
        for number, project in enumerate(self.above):
            sums.append(sums[-1] + project(current[:, :, number]))
        return self._mixed(torch.stack(sums, 2) + self.stream).flatten(1, 2)[:, :length]

    def _mixed(self, x: Tensor) -> Tensor:
        for block in self.inner:
            x = x + block(self.dropout(x))
        return self.norm(x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def _place_tokens(self) -> None:
        """Tokens begin on a helix of their numbers, so notes a step or an octave apart are alike from the start.

        Shepard 1982, "Geometrical approximations to the structure of musical pitch".
        """
        weight = nn.init.normal_(self.embedding.weight, std=0.5)
        weight += sinusoids(torch.arange(len(weight)), weight.shape[1])

    def _unread(self, rows: int) -> Source:
        return self.read({}, rows)


class _Gated(nn.Module):
    """Products of two linear maps (Shazeer 2020, "GLU variants improve transformer"): of waves, differences."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        within = max(1, hidden // 2)
        self.norm = nn.LayerNorm(hidden)
        self.gate, self.up, self.down = linear(hidden, within), linear(hidden, within), linear(within, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., hidden]`` to the same."""
        x = self.norm(x)
        return self.down(F.silu(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]


def _require_one_sequence(how: dict[str, str]) -> None:
    given = [name for name, one in how.items() if one == "sequence"]
    if len(given) > 1:
        raise Unsupported(
            "interleaved_recurrent lays one condition beside what it writes",
            given=given,
            cure="set `how: vector` for the others in the network's conditioner, or choose attentive_recurrent",
        )
