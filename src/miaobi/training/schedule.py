"""Learning rate over a whole run: warm-up, then decay."""

from __future__ import annotations

import math

from miaobi.recipe import ScheduleSettings


def factor(step: int, steps: int, settings: ScheduleSettings) -> float:
    """What the learning rate is multiplied by at ``step`` (counted from 0) of ``steps``.

    Rises linearly to 1 over the warm-up, which is never more than a tenth of the run, then falls to
    ``settings.final`` at the last step.
    """
    warmup = min(settings.warmup, steps // 10)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, steps - 1 - warmup)
    return settings.final + (1 - settings.final) * _shape(settings.name, min(1.0, progress))


def _shape(name: str, progress: float) -> float:
    if name == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    return 1 - progress if name == "linear" else 1.0
