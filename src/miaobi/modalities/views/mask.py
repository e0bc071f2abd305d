"""The target with a part missing, and where: what inpainting starts from."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.modalities.views._base import View
from miaobi.sampling.noise import integers, uniform
from miaobi.types import Form, Settings, Spec

_STROKES = 3


class Mask(View):
    """The target with holes filled with 0, and a last channel that is 1 in the holes and -1 elsewhere."""

    class Config(Settings):
        """What the holes of training look like; a user's own mask may be anything."""

        shape: Literal["box", "strokes", "half", "mixed"] = Value("mixed", description="mixed: one of the three")
        smallest: float = Value(0.25, gt=0, le=1, description="side of a box as a share of the target's")
        largest: float = Value(0.6, gt=0, le=1)

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        return _masked(values, self.holes(values.shape[2:], seeds))

    def given(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            raise Unsupported("this model fills in what a mask marks", cure="give a mask: --mask FILE")
        return _masked(values, mask)

    def holes(self, space: tuple[int, ...], seeds: Tensor) -> Tensor:
        """``[B, 1, *space]``, 1 in the holes and 0 elsewhere."""
        made = {"box": self._boxes, "strokes": self._strokes, "half": self._halves}
        if self.config.shape != "mixed":
            return made[self.config.shape](space, seeds)
        every = torch.stack([make(space, seeds) for make in made.values()])
        return every[integers(seeds, "mask:shape", len(every)), torch.arange(len(seeds), device=seeds.device)]

    def _spec(self, target: Spec) -> Spec:
        return Spec(Form.TENSOR, channels=target.channels + 1, space=target.space)

    def _boxes(self, space: tuple[int, ...], seeds: Tensor) -> Tensor:
        low, high = sorted((self.config.smallest, self.config.largest))
        sides = low + (high - low) * uniform(seeds, "mask:sides", (len(space),))
        starts = uniform(seeds, "mask:starts", (len(space),)) * (1 - sides)
        inside = torch.ones(len(seeds), 1, *space, device=seeds.device)
        for axis, at in enumerate(_grid(space, seeds.device)):
            start, side = (x[:, axis].view(-1, *[1] * (len(space) + 1)) for x in (starts, sides))
            inside = inside * ((at >= start) & (at < start + side))
        return inside

    def _strokes(self, space: tuple[int, ...], seeds: Tensor) -> Tensor:
        """A few thick segments between random points."""
        shape = (_STROKES, 2, len(space))
        ends = uniform(seeds, "mask:ends", shape)
        width = self.config.smallest / 4 * (1 + uniform(seeds, "mask:width", (_STROKES,)))
        points = torch.stack(torch.broadcast_tensors(*_grid(space, seeds.device)), -1).reshape(1, 1, -1, len(space))
        start, along = ends[:, :, None, 0], ends[:, :, None, 1] - ends[:, :, None, 0]
        share = ((points - start) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-6)
        nearest = start + share.clamp(0, 1)[..., None] * along
        near = (points - nearest).square().sum(-1).sqrt() < width[..., None] / 2
        return near.any(1).float().reshape(len(seeds), 1, *space)

    def _halves(self, space: tuple[int, ...], seeds: Tensor) -> Tensor:
        """One side of the target along its last axes, of the largest share allowed."""
        axis = len(space) - 1 - integers(seeds, "mask:axis", min(2, len(space)))
        far = uniform(seeds, "mask:far") < 1 / 2
        grids = torch.stack([at.expand(space) for at in _grid(space, seeds.device)])
        at = grids[axis]
        at = torch.where(far.view(-1, *[1] * len(space)), 1 - at, at)
        return (at < self.config.largest).float()[:, None]


def _masked(values: Tensor, holes: Tensor) -> Tensor:
    return torch.cat([values * (1 - holes), 2 * holes.expand(-1, 1, *values.shape[2:]) - 1], 1)


def _grid(space: tuple[int, ...], device: torch.device) -> list[Tensor]:
    """Along each axis, where its points are between 0 and 1, shaped to broadcast over ``space``."""
    return [
        ((torch.arange(extent, device=device) + 0.5) / extent).view([-1 if i == axis else 1 for i in range(len(space))])
        for axis, extent in enumerate(space)
    ]
