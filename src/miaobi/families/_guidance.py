"""Classifier-free guidance (Ho and Salimans 2022), within an interval (Kynkäänniemi et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from miaobi.errors import InvalidRecipe
from miaobi.sampling.solvers import Denoise
from miaobi.types import Field

Fields = dict[str, Field]
Estimate = Callable[[Tensor, Tensor, Fields], Tensor]
"""``(x_t [B, ...], t [B], conditions) -> x_0 [B, ...]``."""


def guided(estimate: Estimate, conditions: Fields, strength: float, interval: tuple[float, float]) -> Denoise:
    """A denoiser that goes from the estimate without conditions ``strength`` times the way to the one with them.

    1 is the conditions' own estimate, 0 the one without, more than 1 beyond. Outside the times of ``interval`` the
    strength is 1. Both estimates are one call of twice the rows.
    """
    free = absent(conditions)
    both = {name: _joined(conditions[name], free[name]) for name in conditions}

    def denoise(x: Tensor, t: float) -> Tensor:
        times = x.new_full((len(x),), t)
        if not conditions or strength == 1 or not interval[0] <= t <= interval[1]:
            return estimate(x, times, conditions)
        if strength == 0:
            return estimate(x, times, free)
        told, untold = estimate(torch.cat([x, x]), torch.cat([times, times]), both).chunk(2)
        return untold + strength * (told - untold)

    return denoise


def require_guidable(
    conditions: Mapping[str, object], drop: float, strength: float, name: str = "control guidance"
) -> None:
    """Refuse a ``strength`` other than 1 where there is nothing to guide by, or nothing to guide from.

    Args:
        conditions: the model's.
        drop: the share of items whose conditions it was trained without.
        strength: of guidance.
        name: what asks for it.

    Raises:
        InvalidRecipe: no conditions, or an answer without them that was never trained.
    """
    if strength == 1:
        return
    cure = f"leave the {name} out"
    if not conditions:
        raise InvalidRecipe("there is nothing to guide by: the model has no conditions", given=strength, cure=cure)
    if drop == 0:
        raise InvalidRecipe(
            "guidance compares with what the model makes without conditions, which this one never learnt",
            given=f"{name} {strength} where condition_drop is 0",
            cure=f"{cure}, or train with model.options.condition_drop above 0, such as 0.1",
        )


def absent(conditions: Fields) -> Fields:
    """The conditions, none of them present."""
    return {name: replace(field, present=torch.zeros_like(field.is_present())) for name, field in conditions.items()}


def _joined(told: Field, free: Field) -> Field:
    twice = told.map(lambda tensor: torch.cat([tensor, tensor]))
    return replace(twice, present=torch.cat([told.is_present(), free.is_present()]))
