"""Controls of drawing tokens, and drawing one token for each of many requests with controls of their own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.sampling import logits as shaping
from miaobi.types import Settings


class TokenControls(Settings):
    """How tokens are drawn. Applied in this order: guidance, repetition, temperature, top-k, top-p, min-p."""

    temperature: float = Value(1.0, ge=0, le=100, description="0 takes the most likely token")
    top_k: int | None = Value(None, ge=1, le=10**7, description="draw from this many most likely tokens")
    top_p: float = Value(1.0, gt=0, le=1, description="draw from the most likely tokens that hold this probability")
    min_p: float = Value(0.0, ge=0, le=1, description="draw from tokens this likely relative to the most likely")
    repetition_penalty: float = Value(1.0, gt=0, le=100, description="above 1 makes tokens already there less likely")
    max_length: int | None = Value(None, ge=1, le=10**6, description="longest item in tokens, its prefix included")
    guidance: float = Value(1.0, ge=0, le=100, description="above 1 follows the conditions more, 0 ignores them")


class Chooser:
    """Draws one token a row under each row's controls; what no row asks for costs nothing."""

    def __init__(self, controls: Sequence[TokenControls], device: torch.device) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, device=device)

        self.greedy = column([c.temperature == 0 for c in controls])
        self.temperature = column([c.temperature or 1.0 for c in controls])
        self.top_k = column([c.top_k or 10**7 for c in controls])
        self.top_p = column([c.top_p for c in controls])
        self.min_p = column([c.min_p for c in controls])
        self.penalty = column([c.repetition_penalty for c in controls])
        self.all_greedy = all(c.temperature == 0 for c in controls)
        self.any_greedy = any(c.temperature == 0 for c in controls)
        self.any_temperature = any(c.temperature not in (0, 1) for c in controls)
        self.any_top_k = any(c.top_k is not None for c in controls)
        self.any_top_p = any(c.top_p < 1 for c in controls)
        self.any_min_p = any(c.min_p > 0 for c in controls)
        self.any_penalty = any(c.repetition_penalty != 1 for c in controls)

    def __call__(self, logits: Tensor, uniform: Tensor, seen: Tensor | None = None) -> Tensor:
        """Tokens ``[R]`` from ``logits [R, V]`` float32, ``uniform [R]`` and, for repetition, ``seen [R, V]``."""
        if self.any_penalty and seen is not None:
            logits = shaping.penalise_repetition(logits, seen, self.penalty)
        if self.all_greedy:
            return logits.argmax(-1)
        drawn = shaping.draw(self._shaped(logits), uniform)
        return torch.where(self.greedy, logits.argmax(-1), drawn) if self.any_greedy else drawn

    def _shaped(self, logits: Tensor) -> Tensor:
        if self.any_temperature:
            logits = logits / self.temperature[:, None]
        if self.any_top_k:
            logits = shaping.keep_top_k(logits, self.top_k)
        if self.any_top_p:
            logits = shaping.keep_top_p(logits, self.top_p)
        if self.any_min_p:
            logits = shaping.keep_min_p(logits, self.min_p)
        return logits
