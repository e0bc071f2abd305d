"""Through a model's latent: what it makes of an item, what lies between two, and what one direction changes.

Between two latents a great circle is walked, because a prior's draws all lie about as far from its centre (White 2016,
"Sampling generative networks").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from miaobi.errors import InvalidRecipe
from miaobi.families import Latent, require
from miaobi.generation.request import condition_fields
from miaobi.modalities import Item
from miaobi.models import Model, opened
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field

_MOST = 10_000


def reconstruct(model: Model | str | Path, items: Sequence[Any]) -> list[Item]:
    """Items as they come back from the model's latent.

    Args:
        model: a loaded model, or what `miaobi.load` takes.
        items: files or raw items, as the model's modality reads them; at least one.

    Raises:
        Unsupported: the model's family has no latent.
        DataError: an item that the modality cannot read.
    """
    model = opened(model)
    return _decoded(model, encode(model, items))


def interpolate(model: Model | str | Path, first: Any, second: Any, *, n: int = 8) -> list[Item]:
    """``n`` items from one to the other, both ends (as the model reconstructs them) included.

    Args:
        model: a loaded model, or what `miaobi.load` takes.
        first: a file or a raw item.
        second: another.
        n: 2 to 10,000.

    Raises:
        InvalidRecipe: ``n`` out of range.
        Unsupported: the model's family has no latent.
    """
    _check(n, 2)
    model = opened(model)
    ends = encode(model, [first, second])
    return _decoded(model, slerp(ends[0], ends[1], torch.linspace(0, 1, n)))


def traverse(
    model: Model | str | Path, item: Any, dimension: int, *, span: tuple[float, float] = (-3.0, 3.0), n: int = 8
) -> list[Item]:
    """``n`` items that differ in one number of the latent, which goes over ``span``.

    Args:
        model: a loaded model, or what `miaobi.load` takes.
        item: a file or a raw item: where the other numbers come from.
        dimension: which number, 0 to the latent's size less one, in memory order.
        span: its first and last value; a prior's deviation is 1.
        n: 2 to 10,000.

    Raises:
        InvalidRecipe: ``n`` or ``dimension`` out of range.
        Unsupported: the model's family has no latent.
    """
    _check(n, 2)
    model = opened(model)
    z = encode(model, [item])
    size = z[0].numel()
    if not 0 <= dimension < size:
        raise InvalidRecipe("the latent has no such dimension", given=dimension, allowed=f"0 to {size - 1}")
    rows = z.expand(n, *z.shape[1:]).clone()
    rows.flatten(1)[:, dimension] = torch.linspace(*span, n)
    return _decoded(model, rows)


def encode(model: Model, items: Sequence[Any]) -> Tensor:
    """Latents ``[N, ...]`` of items, the posterior's means, on the processor.

    Raises:
        Unsupported: the model's family has no latent.
    """
    family = require(model.family, Latent, "going through a latent")
    modality = model.modality
    target = modality.collate([modality.encode(modality.read(item)) for item in items])
    batch = Batch(target, condition_fields(model, {}, len(target)), ids=torch.arange(len(target)))
    with torch.no_grad():
        values: Tensor = family.encode(batch.to(model.family.device)).values.cpu()
    return values


def slerp(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """Points ``[N, *shape]`` on the great circle between two tensors of one shape, at ``shares [N]`` of the way.

    Their lengths go evenly from the one's to the other's; where they point the same way it is a straight line.
    """
    a, b = first.flatten().double(), second.flatten().double()
    angle = torch.arccos((a @ b / (a.norm() * b.norm()).clamp(min=1e-12)).clamp(-1, 1))
    s = shares.double()[:, None]
    if angle < 1e-4:
        mixed = (1 - s) * a + s * b
    else:
        towards = torch.sin((1 - s) * angle) * a / a.norm() + torch.sin(s * angle) * b / b.norm()
        mixed = towards / torch.sin(angle) * ((1 - s) * a.norm() + s * b.norm())
    return mixed.to(first).reshape(len(shares), *first.shape)


def _decoded(model: Model, z: Tensor) -> list[Item]:
    seeds, device = seeds_of(0, range(len(z))), model.family.device
    conditions = condition_fields(model, {}, len(z))
    with torch.no_grad():
        moved = {name: field.to(device) for name, field in conditions.items()}
        samples = model.family.decode(Field(z.to(device)), moved, seeds=seeds.to(device))  # type: ignore[operator]
    found = samples.to("cpu")
    arrays = model.modality.split_batch(found.values, found.lengths)
    return [model.modality.shown.decode(array) for array in arrays]


def _check(n: int, least: int) -> None:
    if not least <= n <= _MOST:
        raise InvalidRecipe("the number of items is out of range", given=n, allowed=f"{least} to {_MOST}")
