"""Where a run stands: everything about it that is not a tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from miaobi.training.guards import Guards


@dataclass(frozen=True)
class Best:
    """The best held-out figure so far, and the step (done steps) whose checkpoint has the weights."""

    metric: str
    value: float
    step: int


@dataclass
class RunState:
    """Progress of a run; plain JSON in a checkpoint.

    Attributes:
        step: steps done.
        batches: batches taken from the loader.
        items: training items consumed.
        seconds: time spent training, over all sittings.
        best: the best evaluation so far.
        impatience: evaluations since the best one.
        stopped: why the run ended early.
        guards: memory of the guards.
    """

    step: int = 0
    batches: int = 0
    items: int = 0
    seconds: float = 0.0
    best: Best | None = None
    impatience: int = 0
    stopped: str | None = None
    guards: Guards = field(default_factory=Guards)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        best = data.get("best")
        guards = Guards.from_json(data["guards"])
        return cls(**{**data, "best": Best(**best) if best else None, "guards": guards})
