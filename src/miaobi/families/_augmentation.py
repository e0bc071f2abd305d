"""Augmentation of all that a discriminator sees, differentiable, so that it cannot learn little data by heart.

Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training": data and samples alike are transformed,
and gradients pass through to the generator. With ``adaptive`` each transformation's probability follows how well the
discriminator knows the data, as in Karras et al. 2020, "Training generative adversarial networks with limited data"
(ADA), over these transformations (ADA's own include rotation, scaling and filtering, which are not here).
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.sampling.noise import derive, integers, uniform
from miaobi.types import Settings, Spec

Transformation = Literal["flip", "colour", "translation", "cutout"]
_SHIFT = 1 / 8
_HOLE = 1 / 2
_MOST = 0.8
"""Adaptive probability stays below this: above, samples start to show the augmentation (Karras et al. 2020)."""
_MEMORY = 0.9
"""Decay of the running confidence: a small batch's says little."""


class AugmentSettings(Settings):
    """What is done, and how often."""

    policy: tuple[Transformation, ...] = Value((), description="in this order; empty: no augmentation")
    probability: float | None = Value(
        None, ge=0, le=1, description="of each transformation, for an item; default: always, or 0 at first if adaptive"
    )
    adaptive: float | None = Value(
        None, gt=-1, lt=1, description="the discriminator's confidence in data to hold by adapting the probability"
    )
    ramp: int = Value(50_000, ge=1, description="items in which an adaptive probability could rise from 0 to 1")


class Augmentation(nn.Module):
    """Transforms items one by one, from seeds; its probability is a buffer.

    Args:
        settings: with a policy.
    """

    probability: Tensor
    confidence: Tensor

    def __init__(self, settings: AugmentSettings) -> None:
        super().__init__()
        self.settings = settings
        usual = 1.0 if settings.adaptive is None else 0.0
        first = usual if settings.probability is None else settings.probability
        self.register_buffer("probability", torch.tensor(first))
        self.register_buffer("confidence", torch.tensor(settings.adaptive or 0.0))

    def forward(self, x: Tensor, seeds: Tensor) -> Tensor:
        """``[B, C, *space]`` to the same, differentiable twice."""
        for name in self.settings.policy:
            own = derive(seeds, name)
            chosen = uniform(own, "chosen") < self.probability
            x = torch.where(_over(chosen, x), _TRANSFORMATIONS[name](x, own), x)
        return x

    def adapt(self, confidence: Tensor, count: Tensor) -> None:
        """Follow the discriminator's ``confidence``, summed over ``count`` items of data."""
        wanted = self.settings.adaptive
        if wanted is None:
            return
        self.confidence.lerp_((confidence / count.clamp(min=1)).to(self.confidence), 1 - _MEMORY)
        rise = torch.sign(self.confidence - wanted) * (count / self.settings.ramp).to(self.confidence)
        self.probability.add_(rise).clamp_(0, _MOST)


def check(settings: AugmentSettings, target: Spec) -> None:
    """Refuse what cannot be done to such a target.

    Raises:
        Unsupported: a flat vector has nothing to move or to cover.
    """
    if settings.policy and not target.space:
        raise Unsupported(
            "a flat vector cannot be augmented",
            given=settings.policy,
            cure="set model.options.augment.policy to [], or use the family gan",
        )


def _flip(x: Tensor, seeds: Tensor) -> Tensor:
    """Mirror left and right, half of the time."""
    return torch.where(_over(uniform(seeds, "mirrored") < 0.5, x), x.flip(-1), x)


def _colour(x: Tensor, seeds: Tensor) -> Tensor:
    """Brightness by up to a quarter of the range, saturation up to twofold, contrast (of sound: loudness) by a half."""
    brightness, saturation, contrast = (_over(uniform(seeds, name), x) for name in ("brighter", "richer", "starker"))
    if x.ndim == 3:
        return x * (contrast + 0.5)
    x = x + (brightness - 0.5)
    if x.shape[1] > 1:
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * 2 * saturation
    return torch.lerp(_over(x.flatten(1).mean(1), x), x, contrast + 0.5)


def _translate(x: Tensor, seeds: Tensor) -> Tensor:
    """Shift by whole cells, up to an eighth of the extent each way, filling in mid-grey."""
    for axis in _axes(x):
        extent = x.shape[axis]
        most = round(extent * _SHIFT)
        shift = integers(seeds, f"shift:{axis}", 2 * most + 1) - most
        source = torch.arange(extent, device=x.device)[None] - shift[:, None]
        inside = _along((source >= 0) & (source < extent), x, axis)
        index = _along(source.clamp(0, extent - 1), x, axis).expand(x.shape)
        x = x.gather(axis, index) * inside
    return x


def _cut(x: Tensor, seeds: Tensor) -> Tensor:
    """Cover a box of half of each extent with mid-grey."""
    hole = torch.ones_like(x[:, :1], dtype=torch.bool)
    for axis in _axes(x):
        extent = x.shape[axis]
        size = round(extent * _HOLE)
        # Centres reach the border, so boxes may stick out.
        start = integers(seeds, f"centre:{axis}", extent + 1 - size % 2) - size // 2
        place = torch.arange(extent, device=x.device)[None] - start[:, None]
        hole = hole & _along((place >= 0) & (place < size), x, axis)
    return x * ~hole


_TRANSFORMATIONS = {"flip": _flip, "colour": _colour, "translation": _translate, "cutout": _cut}


def _axes(x: Tensor) -> range:
    """Space axes that move: all frames of a video move together."""
    return range(max(2, x.ndim - 2), x.ndim)


def _over(rows: Tensor, x: Tensor) -> Tensor:
    """``[B]`` shaped to meet ``x [B, ...]``."""
    return rows.reshape(-1, *[1] * (x.ndim - 1))


def _along(cells: Tensor, x: Tensor, axis: int) -> Tensor:
    """``[B, extent]`` shaped to meet ``x`` along an axis."""
    shape = [1] * x.ndim
    shape[0], shape[axis] = cells.shape
    return cells.reshape(shape)
