"""Between a family's records and the decoding engine: requests from conditions and prefixes, samples from tokens."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from miaobi.errors import RequestError, Unsupported
from miaobi.families._layout import Layout
from miaobi.sampling.beam import BeamControls, search
from miaobi.sampling.decoding import Engine, Output, Request, Stepping, Token, decode
from miaobi.sampling.requests import Constraining
from miaobi.sampling.rules import Ruled, Rules
from miaobi.sampling.spelling import Speller, Spelling
from miaobi.sampling.streaming import TextStream
from miaobi.sampling.token_controls import TokenControls
from miaobi.types import Field, Samples

PREFIXES = 8
"""Shared beginnings that a family's engine remembers."""


class Making(Protocol):
    """How a family makes requests: one a seed."""

    def __call__(
        self,
        conditions: Mapping[str, Field],
        prefix: Field | None,
        lengths: Tensor | None,
        controls: Any,
        seeds: Tensor,
    ) -> list[Request]:
        """See `make_requests`."""


class Streamed(Iterator[str]):
    """Pieces of one item's text as an engine draws it; the item leaves the engine with the last, or on `close`."""

    def __init__(self, engine: Engine, number: int, text: TextStream, end: int | None) -> None:
        self._engine, self._number, self._text, self._end = engine, number, text, end
        self._pieces = self._drawn()

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Give the item up, begun or not."""
        self._pieces.close()
        self._engine.remove(self._number)

    def _drawn(self) -> Generator[str, None, None]:
        try:
            while len(self._engine):
                for _, token, _, _ in self._engine.step():
                    piece = "" if token == self._end else self._text.push(token)
                    if piece:
                        yield piece
            piece = self._text.finish()
            if piece:
                yield piece
        finally:
            self._engine.remove(self._number)


class TokenEngine:
    """The engine in a family's terms: `add` takes one item's conditions and prefix (batches of one).

    Args:
        layout: of the family.
        engine: over its network.
        tokenizer: the text of its tokens, for controls of text and for `stream`; ``None``: they are refused.
        make: how it makes requests; ``None``: from conditions that are a prefix.
    """

    def __init__(
        self, layout: Layout, engine: Engine, tokenizer: Speller | None = None, make: Making | None = None
    ) -> None:
        self.layout, self.inner, self.tokenizer = layout, engine, tokenizer
        self.make: Making = make or partial(make_requests, layout, tokenizer=tokenizer)

    def __len__(self) -> int:
        return len(self.inner)

    def add(
        self, conditions: dict[str, Field], *, prefix: Field | None = None, controls: TokenControls, seed: int
    ) -> int:
        """Start one item; gives the id that `step` reports under.

        Raises:
            RequestError: no free slot, a prefix that leaves no room, or controls that this model cannot follow.
        """
        return self.inner.add([self._request(conditions, prefix, controls, seed)])[0]

    def step(self) -> list[Token]:
        """One token for every item under way; the end token comes too, with ``done``."""
        return self.inner.step()

    def remove(self, number: int) -> None:
        """Give up an item."""
        self.inner.remove(number)

    def stream(
        self, conditions: dict[str, Field], *, prefix: Field | None = None, controls: TokenControls, seed: int
    ) -> Streamed:
        """The text of one item as it is drawn, without its prefix and from a stop string on.

        Pieces are never empty and never half a character; joined they are the text of what `sample` gives. Closing the
        iterator gives the item up. For an engine that has no other items.

        Raises:
            RequestError: as for `add`, when called.
            Unsupported: the tokens are not those of a text.
        """
        request = self._request(conditions, prefix, controls, seed)
        speller = Spelling(self.tokenizer, self.layout.outputs).speller
        text = TextStream(speller.streamer(), controls.stop, request.tokens[request.head :])
        return Streamed(self.inner, self.inner.add([request])[0], text, self.layout.end)

    def _request(
        self, conditions: dict[str, Field], prefix: Field | None, controls: TokenControls, seed: int
    ) -> Request:
        if isinstance(controls, BeamControls) and controls.beams is not None:
            raise RequestError(
                "a beam search has no next token to give: which is best shows at the end",
                given=f"beams = {controls.beams}",
                cure="leave beams out, or sample instead of streaming",
            )
        if controls.best_of > 1:
            raise RequestError(
                "the best of several items is known only when all are made",
                given=f"best_of = {controls.best_of}",
                cure="leave best_of out, or sample instead of streaming",
            )
        if not -(2**63) <= seed < 2**63:
            raise RequestError("the seed is out of range", given=seed, allowed="64-bit integers")
        seeds = torch.tensor([seed])
        return self.make(conditions, prefix, None, controls, seeds)[0]


def complete(
    network: Stepping,
    output: Output,
    requests: Sequence[Request],
    dtype: torch.dtype | None = None,
    compiling: bool | None = False,
) -> list[tuple[list[int], float]]:
    """Each request's tokens (the end token too) and their log-probability: drawn, or searched for with beams."""
    controls = requests[0].controls if requests else None
    if isinstance(controls, BeamControls) and controls.beams is not None:
        return search(network, output, requests, dtype)
    return decode(Engine(network, output, dtype=dtype, compiling=compiling), requests)


def make_requests(
    layout: Layout,
    conditions: Mapping[str, Field],
    prefix: Field | None,
    lengths: Tensor | None,
    controls: TokenControls,
    seeds: Tensor,
    tokenizer: Speller | None = None,
    rules: Rules | None = None,
) -> list[Request]:
    """One request a seed.

    Raises:
        RequestError: no seeds, a prefix as long as the item may be or of tokens that do not exist, a stream with
            nothing to start from, or controls that contradict the lengths.
        Unsupported: controls of text without a ``tokenizer``, or the control ``rules`` without ``rules``.
    """
    rows = len(seeds)
    if rows == 0:
        raise RequestError("nothing to sample", given="0 seeds", allowed="at least 1")
    _require_possible(layout, controls)
    _require_rules(controls, rules)
    told = {name: field.to("cpu") for name, field in conditions.items()}
    heads = _lists(*layout.head(told, rows, torch.device("cpu")))
    guided = controls.guidance != 1 and bool(layout.slots)
    free = _lists(*layout.head({}, rows, torch.device("cpu"))) if guided else [None] * rows
    starts = _prefixes(layout, prefix, rows)
    longest = _longest(layout, controls, lengths, rows)
    spelling = Spelling(tokenizer, layout.outputs)
    bias = spelling.bias(controls)
    requests = []
    for head, without, start, seed, cap in zip(heads, free, starts, seeds.tolist(), longest, strict=True):
        request = _request(head, without, start, seed, cap, controls)
        shortest = max(0, (controls.min_length or 0) - len(start))
        constraint: Constraining | None = spelling.constraint(controls, after=bool(start))
        if controls.rules and rules is not None:
            constraint = Ruled(rules, tuple(start), layout.outputs)
        watch = spelling.watch(controls, start)
        requests.append(replace(request, shortest=shortest, bias=bias, constraint=constraint, watch=watch))
    return requests


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


def _require_possible(layout: Layout, controls: TokenControls) -> None:
    """Refuse lengths that items of this layout cannot have, and more without repetition than there is."""
    fixed, longest = layout.target.fixed, controls.max_length or layout.target.max_length
    if fixed and longest != layout.target.max_length:
        raise RequestError(
            "every item of this model has the same length",
            given=f"max_length = {longest}",
            allowed=f"{layout.target.max_length}",
            cure="leave the control max_length out",
        )
    if controls.min_length is not None and layout.end is None:
        raise RequestError(
            "min_length holds back the end token, and this model's items have none",
            given=f"min_length = {controls.min_length}",
            cure="leave it out: every item is as long as it may be",
        )
    endless = layout.end is None and not controls.stop and not controls.constrained
    least, size = longest if endless else controls.min_length or 0, controls.no_repeat_ngram
    if size is not None and least >= size and least - size + 1 > layout.outputs.size ** min(size, 64):
        raise RequestError(
            "no item of that length is without a repetition: there are not enough different tokens",
            given=f"no_repeat_ngram = {size} for {least} tokens or more",
            allowed=f"up to {layout.outputs.size**size + size - 1} tokens",
            cure="raise no_repeat_ngram, or lower min_length or max_length",
        )


def _require_rules(controls: TokenControls, rules: Rules | None) -> None:
    """Refuse the control ``rules`` where there are none."""
    if controls.rules and rules is None:
        raise Unsupported(
            "there are no rules that these items could be kept to",
            given="rules = true",
            allowed="music for four voices with the tokenizer grid, loaded with its modality",
            cure="leave rules out",
        )


def _prefixes(layout: Layout, prefix: Field | None, rows: int) -> list[list[int]]:
    starts = [[] for _ in range(rows)] if prefix is None else _lists(prefix.values.cpu(), prefix.mask().cpu())
    for token in {token for start in starts for token in start}:
        if not 0 <= token < layout.target.vocabulary:
            raise RequestError(
                "the prefix has a token that does not exist",
                given=token,
                allowed=f"0 to {layout.target.vocabulary - 1}",
            )
    begin = layout.target.begin
    if layout.target.stream and begin is not None:
        starts = [start or [begin] for start in starts]
    return starts


def _longest(layout: Layout, controls: TokenControls, lengths: Tensor | None, rows: int) -> list[int]:
    if layout.target.fixed:
        return [layout.target.max_length] * rows
    largest = controls.max_length or layout.target.max_length
    if controls.min_length is not None and controls.min_length > largest:
        raise RequestError(
            "min_length is more than the longest item",
            given=f"min_length = {controls.min_length}",
            allowed=f"up to {largest}",
            cure="raise the control max_length too",
        )
    return [largest] * rows if lengths is None else [min(largest, length) for length in lengths.tolist()]


def _lists(values: Tensor, mask: Tensor) -> list[list[int]]:
    lengths = mask.sum(1).tolist()
    return [row[:length] for row, length in zip(values.tolist(), lengths, strict=True)]
