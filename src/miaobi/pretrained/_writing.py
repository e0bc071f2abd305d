"""Decoding with an encoder-decoder of transformers: rows of the same length are run together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from miaobi.networks._reading import Source

if TYPE_CHECKING:
    from miaobi.pretrained.pretrained_encoder_decoder import PretrainedEncoderDecoder


@dataclass
class WritingCache:
    """What rows read, and keys and values of what they wrote.

    Attributes:
        network: whose cache it is.
        lengths: ``[rows]`` int64: tokens fed so far.
        read: what each row reads; ``None``: nothing, as yet.
        own: keys and values of all layers, ``[rows, heads, slots, D]`` each, a row's first ones real.
        cross: the same of what is read, ``[rows, heads, S, D]``.
    """

    network: PretrainedEncoderDecoder
    lengths: Tensor
    read: Source | None
    own: list[Tensor]
    cross: list[Tensor]

    @classmethod
    def begin(cls, network: PretrainedEncoderDecoder, rows: int) -> WritingCache:
        """An empty one."""
        device = network.inner.get_output_embeddings().weight.device
        return cls(network, torch.zeros(rows, dtype=torch.int64, device=device), None, [], [])

    def tell(self, sources: Sequence[Source]) -> None:
        """What each row reads, before anything is fed."""
        self.read = Source.gather(sources)

    def empty(self, rows: int, span: int) -> WritingCache:
        return self.begin(self.network, rows)

    def select(self, rows: Tensor) -> Self:
        lengths = self.lengths[rows]
        slots = int(self._slots(lengths).max()) if len(rows) else 0
        own = [part[rows][:, :, :slots] for part in self.own]
        return replace(
            self, lengths=lengths, read=self._known().select(rows), own=own, cross=[part[rows] for part in self.cross]
        )

    def join(self, other: Self) -> Self:
        return replace(
            self,
            lengths=torch.cat([self.lengths, other.lengths]),
            read=_both(self._known(), other._known()),
            own=_below(self.own, other.own),
            cross=_below(self.cross, other.cross),
        )

    def feed(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states ``[rows, D]`` after the last of ``tokens [rows, L]``, of which ``lengths [rows]`` count."""
        hidden: list[tuple[Tensor, Tensor]] = []
        made: list[tuple[Tensor, list[Tensor], list[Tensor]]] = []
        for rows, held, fed in self._groups(lengths):
            last, own, cross = self._run(rows, held, tokens[rows, :fed])
            hidden.append((rows, last))
            made.append((rows, own, cross))
        self._keep(made)
        self.lengths = self.lengths + lengths
        order = torch.cat([rows for rows, _ in hidden]).argsort()
        return torch.cat([last for _, last in hidden])[order]

    def _groups(self, lengths: Tensor) -> Iterator[tuple[Tensor, int, int]]:
        """Rows that hold as much and are fed as much: which, how much, how much."""
        pairs = torch.stack([self.lengths, lengths], 1)
        for held, fed in pairs.unique(dim=0).tolist():
            yield (pairs == pairs.new_tensor([held, fed])).all(1).nonzero()[:, 0], held, fed

    def _run(self, rows: Tensor, held: int, tokens: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        slots = int(self._slots(torch.tensor(held)))
        own = [part[rows][:, :, :slots] for part in self.own] if held else []
        cross = [part[rows] for part in self.cross] if held else []
        past = _cache(own, cross)
        given = tokens if held else self.network.begun(tokens)
        out = self.network.decoder(given, self._known().select(rows), past)
        return out[:, -1], _parts(past.self_attention_cache), _parts(past.cross_attention_cache)

    def _keep(self, made: list[tuple[Tensor, list[Tensor], list[Tensor]]]) -> None:
        order = torch.cat([rows for rows, _, _ in made]).argsort()
        self.own, self.cross = ([part[order] for part in _stacked([one[which] for one in made])] for which in (1, 2))

    def _slots(self, lengths: Tensor) -> Tensor:
        """A first token is fed as the model's own beginning, which may be of several."""
        return (lengths + len(self.network.config.start) - 1) * (lengths > 0)

    def _known(self) -> Source:
        if self.read is None:
            self.read = self.network.read({}, len(self.lengths))
        return self.read


def _both(mine: Source, its: Source) -> Source:
    """The rows of one, then the other's, as wide as their cached keys are."""
    longest = max(mine.mask.shape[1], its.mask.shape[1])
    wide = [
        (F.pad(one.sequence, (0, 0, 0, gap)), F.pad(one.mask, (0, gap)), F.pad(one.tokens, (0, gap), value=-1))
        for one in (mine, its)
        for gap in (longest - one.mask.shape[1],)
    ]
    sequence, mask, tokens = (torch.cat(parts) for parts in zip(*wide, strict=True))
    return Source(sequence, mask, None, tokens)


def _cache(own: list[Tensor], cross: list[Tensor]) -> Any:
    from transformers.cache_utils import DynamicCache, EncoderDecoderCache

    made = []
    for parts in (own, cross):
        cache = DynamicCache()
        for index in range(len(parts) // 2):
            cache.update(parts[2 * index], parts[2 * index + 1], index)
        made.append(cache)
    return EncoderDecoderCache(*made)


def _parts(cache: Any) -> list[Tensor]:
    return [part for layer in cache.layers for part in (layer.keys, layer.values)]


def _stacked(groups: list[Any]) -> list[Tensor]:
    made: list[Tensor] = groups[0]
    for other in groups[1:]:
        made = _below(made, other)
    return made


def _below(first: list[Tensor], second: list[Tensor]) -> list[Tensor]:
    """Rows below one another, those with fewer slots filled up on the right."""
    made = []
    for one, two in zip(first, second, strict=True):
        slots = max(one.shape[2], two.shape[2])
        made.append(torch.cat([F.pad(part, (0, 0, 0, slots - part.shape[2])) for part in (one, two)]))
    return made
