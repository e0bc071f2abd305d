"""Beam search: the most likely sequence that a few candidates, extended together, come upon.

Lowerre 1976, "The HARPY speech recognition system"; for translation Sutskever et al. 2014, "Sequence to sequence
learning with neural networks". Scores are log-probabilities over Wu et al. 2016's length penalty, without which short
sequences win. A candidate is a row of the same cache that drawing decodes with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from pydantic import Field as Value
from pydantic import model_validator
from torch import Tensor

from miaobi.errors import RequestError
from miaobi.sampling.decoding import Output, Request, Stepping
from miaobi.sampling.logits import NEVER, guide
from miaobi.sampling.token_controls import TokenControls

_ROWS = 256
"""Candidates of all requests at once: each has a row of the cache."""
_SEARCHED = frozenset({"beams", "length_penalty", "max_length", "guidance"})
"""Controls that mean something to a search; the others shape what is drawn."""


class BeamControls(TokenControls):
    """How tokens are drawn, or the likeliest are searched for."""

    beams: int | None = Value(
        None,
        ge=1,
        le=256,
        description="candidates of beam search, 1 being greedy, the same for every seed; default: tokens are drawn",
    )
    length_penalty: float = Value(
        0.6, ge=0, le=10, description="of beam search: 0 prefers short items, 1 about the likeliest token on average"
    )

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        # What a family adds to these is its own: a latent's noise, say, comes before any search.
        fields = BeamControls.model_fields
        if self.beams is None:
            if self.length_penalty != fields["length_penalty"].default:
                raise ValueError("length_penalty is of beam search: set beams too, or leave it out")
            return self
        shaping = [name for name in fields if name not in _SEARCHED]
        idle = [name for name in shaping if getattr(self, name) != fields[name].get_default(call_default_factory=True)]
        if idle and not (idle == ["temperature"] and self.temperature == 0):
            raise ValueError(f"beam search takes max_length and guidance only: leave {', '.join(idle)} out, or beams")
        return self


def length_penalty(length: int, strength: float) -> float:
    """What a log-probability is divided by (Wu et al. 2016, equation 14); 1 at ``length`` 1 or ``strength`` 0."""
    return ((5 + length) / 6) ** strength  # type: ignore[no-any-return]


@torch.no_grad()
def search(
    network: Stepping, output: Output, requests: Sequence[Request], dtype: torch.dtype | None = None
) -> list[tuple[list[int], float]]:
    """For each request its best sequence (the end token too) and the log-probability that the model gives it.

    A request is done at its limit, when no candidate under way could still win, or when as many have ended as it has
    beams and none under way is worth more as it stands than the best of them. Controls are `BeamControls` with
    ``beams``, the same for all requests; with guidance, candidates are compared by the guided distribution.

    Raises:
        RequestError: a request that outgrows the network, or has nothing to start from.
    """
    for request in requests:
        _check(request, network.limit)
    controls: list[Any] = [request.controls for request in requests]
    at_once = max(1, _ROWS // max((one.beams for one in controls), default=1))
    found: list[tuple[list[int], float]] = []
    for start in range(0, len(requests), at_once):
        chosen = requests[start : start + at_once]
        searches = [_Search(request) for request in chosen]
        beam = _Beam(network, output, chosen, dtype)
        while beam.live:
            beam.advance(searches)
        found += [(best.tokens, best.log_prob) for best in (one.best() for one in searches)]
    return found


def _check(request: Request, limit: int | None) -> None:
    if not request.tokens or request.limit < 1:
        raise RequestError("decoding needs a token to start from and room for one more")
    if limit is not None and len(request.tokens) + request.limit - 1 > limit:
        raise RequestError(
            "beam search cannot go beyond what the network sees at once",
            given=f"{len(request.tokens)} tokens and {request.limit} more",
            allowed=f"{limit + 1} in all",
            cure="lower the control max_length, shorten the prefix, or draw (leave beams out)",
        )


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Drawn tokens, their score before the length penalty, and their log-probability under the model."""

    tokens: list[int]
    score: float
    log_prob: float


class _Search:
    """One request: its unfinished candidates, likeliest first, and those that ended."""

    def __init__(self, request: Request) -> None:
        controls: Any = request.controls
        self.limit, self.beams, self.strength = request.limit, controls.beams, controls.length_penalty
        self.live = [_Candidate([], 0.0, 0.0)]
        self.ended: list[_Candidate] = []

    def extend(self, found: Sequence[tuple[int, int, float, float]], end: int | None) -> list[int]:
        """Take (parent, token, score, log-probability) found, best first; gives the parents of what goes on."""
        parents: list[int] = []
        live: list[_Candidate] = []
        for rank, (parent, token, score, log_prob) in enumerate(found):
            made = _Candidate([*self.live[parent].tokens, token], score, log_prob)
            if token == end:
                # One that is not among the best would take a place from a candidate that is.
                if rank < self.beams:
                    self.ended.append(made)
            elif len(live) < self.beams:
                live.append(made)
                parents.append(parent)
        self.live = live
        if live and len(live[0].tokens) >= self.limit:
            self.ended, self.live = self.ended + live, []
        if self._decided():
            self.live = []
        return parents if self.live else []

    def best(self) -> _Candidate:
        """The winner among those that ended."""
        return max(self.ended, key=self._value)

    def _value(self, candidate: _Candidate) -> float:
        return candidate.score / length_penalty(len(candidate.tokens), self.strength)

    def _decided(self) -> bool:
        if not self.ended or not self.live:
            return False
        # Scores only fall: at the limit none is worth more than its score now. Once enough have ended, its present
        # length will do.
        length = len(self.live[0].tokens) if len(self.ended) >= self.beams else self.limit
        return self._value(self.best()) >= self.live[0].score / length_penalty(length, self.strength)


class _Beam:
    """The rows of all requests under way: the candidates of each side by side, in its own cache where one is guided."""

    def __init__(
        self, network: Stepping, output: Output, requests: Sequence[Request], dtype: torch.dtype | None
    ) -> None:
        self.network, self.output = network, output
        self.guidance = requests[0].controls.guidance
        guided = self.guidance != 1 and requests[0].free is not None
        told = [(request.tokens, request.source) for request in requests]
        free = [(request.free or (), request.free_source) for request in requests]
        longest = max(request.limit for request in requests)
        self.lanes = [_Lane(network, starts, longest, dtype) for starts in ([told, free] if guided else [told])]
        self.live = list(range(len(requests)))
        self.widths = [1] * len(requests)

    def advance(self, searches: Sequence[_Search]) -> None:
        """A token for every candidate."""
        own, steps = self._distributions()
        rows, tokens, live, start = [], [], [], 0
        for number, width in zip(self.live, self.widths, strict=True):
            one = searches[number]
            here = slice(start, start + width)
            parents = one.extend(_found(one, own[here], steps[here]), self.output.end)
            if parents:
                rows += [start + parent for parent in parents]
                tokens += [candidate.tokens[-1] for candidate in one.live]
                live.append(number)
            start += width
        self.live, self.widths = live, [len(searches[number].live) for number in live]
        if live:
            for lane in self.lanes:
                lane.feed(rows, tokens)

    def _distributions(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities ``[rows, V]`` of the next token: the model's own, and those that are searched by."""
        logits = [self.output.restrict(lane.logits) for lane in self.lanes]
        own = logits[0].log_softmax(-1)
        steps = own
        if len(logits) > 1:
            scale = torch.full((len(own),), self.guidance, device=own.device)
            steps = guide(logits[0], logits[1], scale).log_softmax(-1)
        if self.output.unknown is not None:
            steps = steps.index_fill(1, torch.tensor([self.output.unknown], device=steps.device), NEVER)
        return own, steps


def _found(one: _Search, own: Tensor, steps: Tensor) -> list[tuple[int, int, float, float]]:
    """The likeliest extensions, twice as many as there are beams: even if half of them end, there are enough left."""
    before = torch.tensor([candidate.score for candidate in one.live], dtype=torch.float64, device=steps.device)
    scores = (before[:, None] + steps).flatten()
    values, places = scores.topk(min(2 * one.beams, len(scores)))
    possible = values > NEVER
    values, places = values[possible], places[possible]
    gained = own.flatten()[places].tolist()
    parents, tokens = places // steps.shape[1], places % steps.shape[1]
    return [
        (parent, token, score, one.live[parent].log_prob + gain)
        for parent, token, score, gain in zip(parents.tolist(), tokens.tolist(), values.tolist(), gained, strict=True)
    ]


class _Lane:
    """A cache whose rows are all candidates, and the logits of what follows each."""

    def __init__(
        self,
        network: Stepping,
        starts: Sequence[tuple[tuple[int, ...], Any]],
        longest: int,
        dtype: torch.dtype | None,
    ) -> None:
        self.network = network
        span = max(len(tokens) for tokens, _ in starts) + longest
        self.cache = network.new_cache(len(starts), span, dtype)
        if starts[0][1] is not None:
            self.cache.tell([source for _, source in starts])
        device = self.cache.lengths.device
        rows = [torch.tensor(tokens, device=device) for tokens, _ in starts]
        lengths = torch.tensor([len(row) for row in rows], device=device)
        self.logits = network.prefill(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths, self.cache)

    def feed(self, rows: Sequence[int], tokens: Sequence[int]) -> None:
        """Go on from ``rows`` (repeats allowed) with a token each."""
        device = self.cache.lengths.device
        if list(rows) != list(range(len(self.logits))):
            self.cache = self.cache.select(torch.tensor(rows, device=device))
        self.logits = self.network.step(torch.tensor(tokens, device=device), self.cache)
