"""The first frame of a video, at every time: what image-to-video starts from."""

from __future__ import annotations

from torch import Tensor

from miaobi.modalities.views._base import View


class FirstFrame(View):
    """The first frame ``[B, C, 1, H, W]`` repeated over time; of a picture that a user gives, that picture."""

    dims = frozenset({3})

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        return self.given(values)

    def given(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        super().given(values, mask)
        return values[:, :, :1].expand_as(values).contiguous()
