"""How long the steps of a run take, some of whose phases do not run throughout."""

from __future__ import annotations

from dataclasses import dataclass

from miaobi.types import Phase

_MOST = 10**9


@dataclass(frozen=True)
class Pace:
    """Seconds of a step's parts.

    Attributes:
        turns: each phase, and the seconds of one turn of it.
        rest: seconds of all else in a step.
    """

    turns: tuple[tuple[Phase, float], ...]
    rest: float = 0.0

    def seconds(self, steps: int) -> float:
        """Of the first ``steps`` steps."""
        return steps * self.rest + sum(seconds * _turns(phase, steps) for phase, seconds in self.turns)

    def mean(self, steps: int) -> float:
        """Seconds a step of a run of ``steps``."""
        return self.seconds(steps) / steps

    def steps_in(self, budget: float, besides: float = 0.0) -> int:
        """The most steps that ``budget`` seconds are enough for, one at least; ``besides``: more seconds a step."""

        def fits(steps: int) -> bool:
            return self.seconds(steps) + steps * besides <= budget

        most = 1
        while most < _MOST and fits(2 * most):
            most *= 2
        low, high = most, 2 * most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return min(low, _MOST)


def _turns(phase: Phase, steps: int) -> int:
    last = steps if phase.stop is None else min(phase.stop, steps)
    if last <= phase.start:
        return 0
    return phase.repeat * (-(-last // phase.interval) - -(-phase.start // phase.interval))
