"""Convolutions over one, two or three space axes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Convolution3d(nn.Conv3d):
    """``nn.Conv3d`` by `conv3d`, zero-padded."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, channels, T, H, W]`` to ``[B, outputs, ...]``."""
        return conv3d(x, self.weight, self.bias, stride=self.stride, padding=self.padding)


def conv3d(x: Tensor, weight: Tensor, bias: Tensor | None = None, **options: Any) -> Tensor:
    """``F.conv3d``, in float32 where bfloat16 goes wrong.

    On processors oneDNN leaves part of the weights' bfloat16 gradient unwritten, so that it holds whatever lay in
    memory, where the first axis is shorter than the kernel. Such tensors are small, and float32 is right.
    """
    if x.device.type != "cpu" or x.shape[2] >= weight.shape[2]:
        return F.conv3d(x, weight, bias, **options)
    with torch.autocast("cpu", enabled=False):
        return F.conv3d(x.float(), weight.float(), None if bias is None else bias.float(), **options)


def convolution(dims: int) -> type[nn.Conv1d] | type[nn.Conv2d] | type[nn.Conv3d]:
    """The layer over ``dims`` space axes."""
    return (nn.Conv1d, nn.Conv2d, Convolution3d)[dims - 1]


def convolve(dims: int) -> Any:
    """The function over ``dims`` space axes: input, weight, bias, stride, padding."""
    return (F.conv1d, F.conv2d, conv3d)[dims - 1]
