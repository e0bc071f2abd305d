"""What video extractors share: how much neighbouring frames' features differ."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from miaobi.evaluation.extractors._images import stack


def stack_clips(items: Iterable[np.ndarray]) -> Tensor:
    """``uint8 [T, H, W, C]`` clips of one shape as float32 ``[B, T, C, H, W]`` in [0, 1]."""
    return torch.stack([stack(item) for item in items])


def change(values: Tensor, lag: int = 1) -> Tensor:
    """``[B, ...]`` mean absolute difference of ``[B, T, ...]`` over frames ``lag`` apart; zero where there are none."""
    if values.shape[1] <= lag:
        return torch.zeros_like(values[:, 0])
    return (values[:, lag:] - values[:, :-lag]).abs().mean(1)
