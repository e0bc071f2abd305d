"""Perturbed tensors: projected gradient descent within a ball of the maximum norm, and noise of the same size.

Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from miaobi.sampling.noise import derive, uniform

LOW, HIGH = -1.0, 1.0
"""The range of data."""
_STEP = 2.5
"""A step is so many times the radius over the number of steps: any point of the ball can be reached, and left again."""

Logits = Callable[[Tensor], Tensor]
"""``[B, classes]`` of inputs ``[B, ...]``, differentiable; no row depends on the others."""


@dataclass(frozen=True, slots=True)
class Attacked:
    """Perturbed inputs ``[B, ...]``, and by how much a wrong class leads in each, ``[B]``: above nought it is wrong."""

    inputs: Tensor
    lead: Tensor


def lead(logits: Tensor, labels: Tensor) -> Tensor:
    """``[B]``: the greatest logit of a wrong class less that of the right one, ``labels [B]``."""
    right = labels[:, None]
    others = logits.scatter(1, right, -torch.inf).amax(1)
    return others - logits.gather(1, right)[:, 0]


def pgd(logits: Logits, labels: Tensor, clean: Tensor, radius: float, *, steps: int, seeds: Tensor) -> Attacked:
    """Steps of the sign of the cross-entropy's gradient, from a random start, projected onto ball and range.

    What is returned is the one of all inputs seen on the way, the clean ones among them, in which a wrong class leads
    most: more steps never attack less.

    Args:
        logits: what is attacked.
        labels: ``[B]`` int64, the right classes.
        clean: ``[B, ...]`` in [-1, 1].
        radius: the most that a number is changed by; 0 changes nothing.
        steps: of the gradient.
        seeds: ``[B]``, of the starts.
    """
    best = Attacked(clean, lead(logits(clean), labels))
    if radius == 0:
        return best
    start = 2 * radius * uniform(seeds, "start of an attack", clean.shape[1:]) - radius
    inputs = within(clean + start, clean, radius)
    for _ in range(steps):
        gradient, said = _gradient(logits, inputs, labels)
        best = _worse(best, Attacked(inputs, said))
        inputs = within(inputs + _STEP * radius / steps * gradient.sign(), clean, radius)
    return _worse(best, Attacked(inputs, lead(logits(inputs), labels)))


def noisy(clean: Tensor, radius: float, seeds: Tensor) -> Tensor:
    """``clean`` with every number moved by ``radius`` up or down at random: the largest noise within the ball."""
    signs = (uniform(derive(seeds, "control"), "signs", clean.shape[1:]) < 0.5).to(clean.dtype) * 2 - 1
    return within(clean + radius * signs, clean, radius)


def within(inputs: Tensor, clean: Tensor, radius: float) -> Tensor:
    """The nearest point of the range within ``radius`` of ``clean``."""
    return torch.minimum(torch.maximum(inputs, clean - radius), clean + radius).clamp(LOW, HIGH)


def _gradient(logits: Logits, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Of the cross-entropy in the inputs, and the lead there."""
    with torch.enable_grad():
        inputs = inputs.detach().requires_grad_(True)
        said = logits(inputs)
        # A sum over items: a mean would make each one's gradient depend on how many there are.
        loss = F.cross_entropy(said, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, inputs)
    return gradient, lead(said.detach(), labels)


def _worse(one: Attacked, other: Attacked) -> Attacked:
    """Item by item the one with the greater lead."""
    more = other.lead > one.lead
    where = more.view(-1, *[1] * (one.inputs.ndim - 1))
    return Attacked(torch.where(where, other.inputs, one.inputs), torch.where(more, other.lead, one.lead))
