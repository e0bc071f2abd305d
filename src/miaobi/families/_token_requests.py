"""Between a family's records and the decoding engine: requests from conditions and prefixes, samples from tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from miaobi.errors import RequestError
from miaobi.families._layout import Layout
from miaobi.sampling.beam import BeamControls, search
from miaobi.sampling.decoding import Engine, Output, Request, Stepping, Token, decode
from miaobi.sampling.token_controls import TokenControls
from miaobi.types import Field, Samples

_DRAW = "leave the control beams out, or ask for whole items"


class Making(Protocol):
    """How a family makes requests: one a seed."""

    def __call__(
        self,
        conditions: Mapping[str, Field],
        prefix: Field | None,
        lengths: Tensor | None,
        controls: Any,
        seeds: Tensor,
    ) -> list[Request]: ...


class TokenEngine:
    """The engine in a family's terms: `add` takes one item's conditions and prefix (batches of one)."""

    def __init__(self, make: Making, engine: Engine) -> None:
        self.make, self.inner = make, engine

    def __len__(self) -> int:
        return len(self.inner)

    def add(
        self, conditions: dict[str, Field], *, prefix: Field | None = None, controls: TokenControls, seed: int
    ) -> int:
        """Start one item; gives the id that `step` reports under.

        Raises:
            RequestError: no free slot, a prefix that leaves no room, or beams: which token is best shows at the end.
        """
        if isinstance(controls, BeamControls) and controls.beams is not None:
            raise RequestError("a beam search has no next token to give", given=f"beams {controls.beams}", cure=_DRAW)
        return self.inner.add(self.make(conditions, prefix, None, controls, torch.tensor([seed])))[0]

    def step(self) -> list[Token]:
        """One token for every item under way; the end token comes too, with ``done``."""
        return self.inner.step()

    def remove(self, number: int) -> None:
        """Give up an item."""
        self.inner.remove(number)


def complete(
    network: Stepping, output: Output, requests: Sequence[Request], dtype: torch.dtype | None = None
) -> list[tuple[list[int], float]]:
    """Each request's tokens (the end token too) and their log-probability: drawn, or searched for with beams."""
    controls = requests[0].controls if requests else None
    if isinstance(controls, BeamControls) and controls.beams is not None:
        return search(network, output, requests, dtype)
    return decode(Engine(network, output, dtype=dtype), requests)


def make_requests(
    layout: Layout,
    conditions: Mapping[str, Field],
    prefix: Field | None,
    lengths: Tensor | None,
    controls: TokenControls,
    seeds: Tensor,
) -> list[Request]:
    """One request a seed.

    Raises:
        RequestError: a prefix as long as the item may be, or a stream with nothing to start from.
    """
    rows = len(seeds)
    heads = _lists(*layout.head(conditions, rows, torch.device("cpu")))
    guided = controls.guidance != 1 and bool(layout.slots)
    free = _lists(*layout.head({}, rows, torch.device("cpu"))) if guided else [None] * rows
    starts = _prefixes(layout, prefix, rows)
    longest = _longest(layout, controls, lengths, rows)
    return [
        _request(head, without, start, seed, cap, controls)
        for head, without, start, seed, cap in zip(heads, free, starts, seeds.tolist(), longest, strict=True)
    ]


def gather(
    layout: Layout, requests: Sequence[Request], drawn: Sequence[tuple[list[int], float]], device: Any
) -> Samples:
    """Items ``[B, L]`` (prefix and drawn tokens, without the end token), their lengths and log-probabilities."""
    rows = []
    for request, (tokens, _) in zip(requests, drawn, strict=True):
        body = tokens[:-1] if tokens and tokens[-1] == layout.end else tokens
        rows.append(torch.tensor([*request.tokens[request.head :], *body], dtype=torch.int64))
    values = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    log_probs = torch.tensor([log_prob for _, log_prob in drawn])
    return Samples(values, lengths, log_probs).to(device)


def _request(
    head: list[int], free: list[int] | None, start: list[int], seed: int, longest: int, controls: TokenControls
) -> Request:
    if len(start) >= longest:
        raise RequestError(
            "the prefix leaves no room for another token",
            given=f"{len(start)} tokens",
            allowed=f"fewer than max_length = {longest}",
            cure="shorten the prefix or raise the control max_length",
        )
    if not head and not start:
        raise RequestError("a stream needs something to start from", cure="give a prompt")
    tokens = (*head, *start)
    without = None if free is None else (*free, *start)
    return Request(tokens, len(head), seed, longest - len(start), controls, without)


def _prefixes(layout: Layout, prefix: Field | None, rows: int) -> list[list[int]]:
    starts = [[] for _ in range(rows)] if prefix is None else _lists(prefix.values.cpu(), prefix.mask().cpu())
    begin = layout.target.begin
    if layout.target.stream and begin is not None:
        starts = [start or [begin] for start in starts]
    return starts


def _longest(layout: Layout, controls: TokenControls, lengths: Tensor | None, rows: int) -> list[int]:
    if layout.target.fixed:
        return [layout.target.max_length] * rows
    largest = controls.max_length or layout.target.max_length
    return [largest] * rows if lengths is None else [min(largest, length) for length in lengths.tolist()]


def _lists(values: Tensor, mask: Tensor) -> list[list[int]]:
    lengths = mask.sum(1).tolist()
    return [row[:length] for row, length in zip(values.tolist(), lengths, strict=True)]
