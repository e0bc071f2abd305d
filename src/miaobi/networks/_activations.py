"""Activations by name, for networks whose recipes choose them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["relu", "leaky_relu", "silu", "gelu", "tanh"]
Squash = Literal["none", "tanh", "sigmoid"]


def activation(name: Activation, slope: float) -> nn.Module:
    """A hidden layer's activation; ``slope`` is leaky ReLU's on the negative side."""
    made: dict[str, nn.Module] = {
        "relu": nn.ReLU(),
        "leaky_relu": nn.LeakyReLU(slope),
        "silu": nn.SiLU(),
        "gelu": nn.GELU(),
        "tanh": nn.Tanh(),
    }
    return made[name]


def gain(name: Activation, slope: float) -> float:
    """What keeps the variance of a layer's output through the activation (He et al. 2015)."""
    return float(
        nn.init.calculate_gain("leaky_relu", slope if name == "leaky_relu" else 0.0) if name != "tanh" else 5 / 3
    )


def squash(x: Tensor, name: Squash) -> Tensor:
    """The output's range: free, [-1, 1] or [0, 1]."""
    return torch.tanh(x) if name == "tanh" else torch.sigmoid(x) if name == "sigmoid" else x
