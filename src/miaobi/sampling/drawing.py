"""What a step of decoding draws for the requests under way, each under its own controls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from miaobi.sampling.logits import NEVER, guide
from miaobi.sampling.noise import uniform
from miaobi.sampling.penalties import Penalties, warn_of_giving_way
from miaobi.sampling.requests import Active, Output
from miaobi.sampling.token_controls import Chooser

_DRAWS = 256
"""Fewest random numbers made at a time."""
_RETRIES = 2
"""Other tokens drawn where a constraint cannot be met after the first."""


class Drawing:
    """What a step needs of the requests under way, as tensors; made anew when they change."""

    def __init__(self, active: Sequence[Active], output: Output, device: torch.device) -> None:
        owners = [index for index, a in enumerate(active) for _ in range(a.width)]
        guided = [index for index, a in enumerate(active) if a.guided]
        self.owners = torch.tensor(owners, device=device) if guided else None
        self.main = torch.tensor([owners.index(index) for index in range(len(active))], device=device)
        self.guided = torch.tensor(guided, dtype=torch.int64, device=device)
        self.scales = torch.tensor([active[index].request.controls.guidance for index in guided], device=device)
        self.choose = Chooser([a.request.controls for a in active], device)
        self.seeds = torch.tensor([a.request.seed for a in active])
        self.longest = max(len(a.drawn) for a in active)
        self.counts = torch.tensor([[len(a.drawn)] for a in active], device=device)
        self.uniforms = self._uniforms()
        self.output = output
        self.penalties = Penalties.of(active, output.size, output.end, device)
        self.guarded = [(row, a) for row, a in enumerate(active) if a.guard is not None]

    def draw(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """A token ``[R]`` a request, and its log-probability ``[R]`` before any control."""
        logits = self.output.restrict(logits)
        shaped = own = logits if self.owners is None else logits[self.main]
        if self.owners is not None:
            mixed = guide(own[self.guided], logits[self.main[self.guided] + 1], self.scales)
            shaped = own.index_copy(0, self.guided, mixed)
        if self.output.unknown is not None:
            shaped = shaped.index_fill(1, torch.tensor([self.output.unknown], device=shaped.device), NEVER)
        if self.longest >= self.uniforms.shape[1]:
            self.uniforms = self._uniforms()
        tokens = self._chosen(shaped, self.uniforms.gather(1, self.counts)[:, 0])
        self.counts = self.counts + 1
        self.longest += 1
        return tokens, own.log_softmax(-1).gather(1, tokens[:, None])[:, 0]

    def spread(self, tokens: Tensor) -> Tensor:
        """Tokens of requests ``[R]`` to tokens of rows."""
        return tokens if self.owners is None else tokens[self.owners]

    def _chosen(self, logits: Tensor, numbers: Tensor) -> Tensor:
        if self.penalties is None and not self.guarded:
            return self.choose(logits, numbers)
        if self.penalties is not None:
            logits = self.penalties.adjust(logits)
        if self.guarded:
            logits = self._permitted(logits)
        if self.penalties is not None:
            logits = self.penalties.ban(logits)
        tokens = self.choose(logits, numbers)
        for row, active in self.guarded:
            if not active.done:
                tokens[row] = _obedient(active, logits[row], numbers[row], int(tokens[row]))
        if self.penalties is not None:
            self.penalties.observe(tokens)
        return tokens

    def _permitted(self, logits: Tensor) -> Tensor:
        logits = logits.clone()
        for row, active in self.guarded:
            if active.guard is not None and not active.done:
                allowed = torch.from_numpy(active.guard.allowed()).to(logits.device)
                logits[row].masked_fill_(~allowed, NEVER)
        return logits

    def _uniforms(self) -> Tensor:
        """``[R, T]`` with T a power of two beyond the longest: number t depends on the seed and t alone."""
        return uniform(self.seeds, "token", (max(_DRAWS, 2 ** (self.longest + 1).bit_length()),)).to(self.counts.device)


def _obedient(active: Active, logits: Tensor, number: Tensor, token: int) -> int:
    """``token``, or else another one of ``logits [V]`` after which the request's constraint can still be met."""
    guard = active.guard
    if guard is None:
        return token
    choose, given, logits = Chooser([active.request.controls], logits.device), logits, logits.clone()
    for left in range(_RETRIES, -1, -1):
        if guard.admit(token):
            return token
        if not left or not 0 <= token < len(logits):
            break
        logits[token] = NEVER
        token = int(choose(logits[None], number[None])[0])
    token = guard.known()
    guard.admit(token)
    if 0 <= token < len(given) and given[token] == NEVER:
        warn_of_giving_way()
    return token
