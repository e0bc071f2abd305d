"""The first and the last frame of a video, blended over time: what frame interpolation starts from."""

from __future__ import annotations

import torch
from torch import Tensor

from miaobi.modalities.views._base import View


class Ends(View):
    """Frame t of T is ``(1 - t / (T - 1))`` of the first and ``t / (T - 1)`` of the last."""

    dims = frozenset({3})

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        return self.given(values)

    def given(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        super().given(values, mask)
        share = torch.linspace(0, 1, values.shape[2], device=values.device).view(1, 1, -1, 1, 1)
        return torch.lerp(values[:, :, :1], values[:, :, -1:], share.to(values))
