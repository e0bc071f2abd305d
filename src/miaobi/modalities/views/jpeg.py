"""The target after strong JPEG compression: what restoration starts from."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image as Pillow
from pydantic import Field as Value
from torch import Tensor

from miaobi.modalities.views._base import View
from miaobi.sampling.noise import integers
from miaobi.types import Settings

_HALF = 127.5


class Jpeg(View):
    """Pillow's encoder and back, each item at its own quality; every channel is compressed as a grey picture."""

    class Config(Settings):
        """The qualities of training."""

        worst: int = Value(5, ge=1, le=95)
        best: int = Value(25, ge=1, le=95)

    dims = frozenset({2})

    def __call__(self, values: Tensor, seeds: Tensor) -> Tensor:
        low, high = sorted((self.config.worst, self.config.best))
        quality = (low + integers(seeds, "jpeg:quality", high - low + 1)).tolist()
        levels = values.float().add(1).mul(_HALF).round().clamp(0, 2 * _HALF).to(torch.uint8).cpu().numpy()
        seen = np.stack(
            [[_compressed(channel, q) for channel in item] for item, q in zip(levels, quality, strict=True)]
        )
        return torch.from_numpy(seen).to(values).div(_HALF).sub(1)


def _compressed(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    return np.asarray(Pillow.open(buffer))
