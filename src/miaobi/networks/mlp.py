"""A multilayer perceptron between any two continuous ports (Rosenblatt 1961; Rumelhart, Hinton and Williams 1986).

The network of the textbook generators, discriminators, encoders and decoders (Goodfellow et al. 2014; Kingma and
Welling 2014).
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field as Value
from pydantic import model_validator
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._activations import Activation, Squash, activation, gain, squash
from miaobi.networks._base import Network, NetworkConfig, SizeTable
from miaobi.networks._heads import Head, linear, require_how
from miaobi.types import Condition, Field, Form, Size, Spec

_SIZES = SizeTable(width=(64, 512, 1024), depth=(2, 2, 3))
_FREQUENCIES = 32
_FASTEST = 1000.0
"""Radians a unit of time: tells times apart that differ by a thousandth."""


class MLP(Network):
    """Flattens the source, passes it through hidden layers and shapes the result as the target.

    A condition's vector is added before the first hidden activation, which is what concatenating it to the source
    would do; with ``projection`` it enters the output only (Miyato and Koyama 2018, "cGANs with
    projection discriminator"). With ``time`` each hidden layer is scaled and shifted by an embedding of it,
    and of the step's size with ``step``.
    """

    class Config(NetworkConfig):
        """Hidden widths in order, and what is between the layers."""

        hidden: Annotated[list[Annotated[int, Value(ge=1, le=65536)]], Value(min_length=1, max_length=32)] = [512, 512]
        activation: Activation = "leaky_relu"
        slope: float = Value(0.2, ge=0, le=1, description="of leaky_relu, below zero")
        output: Squash = "none"
        norm: Literal["none", "batch", "layer"] = "none"
        dropout: float = Value(0.0, ge=0, lt=1)
        projection: bool = Value(False, description="conditions enter by an inner product with the last hidden layer")
        time: bool = Value(False, description="takes a diffusion's time; default: where both ports have one shape")
        step: bool = Value(False, description="takes the size of the sampler's step too, as shortcut models need")

        @model_validator(mode="after")
        def _step_at_a_time(self) -> Self:
            if self.step and not self.time:
                raise ValueError("step is taken beside time: set time: true too")
            return self

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Equal hidden widths; conditions by projection where the target is one score, time where it may denoise."""
        _check(source, target)
        width, depth = _SIZES.at(size)
        denoises = (source.channels, source.space) == (target.channels, target.space) and target.size > 1
        return cls.Config(hidden=[width] * depth, projection=target.size == 1 and bool(conditions), time=denoises)

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        _check(source, target)
        super().__init__(config, source, target, conditions)
        widths = [source.size, *config.hidden]
        last = len(config.hidden) - 1
        scale = gain(config.activation, config.slope)
        self.layers = nn.ModuleList(linear(a, b, scale) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(_norm(config.norm, width) for width in config.hidden)
        self.conditioner = self.make_conditioner(config.hidden[last if config.projection else 0])
        require_how("mlp", self.conditioner, "vector")
        self.activation = activation(config.activation, config.slope)
        self.dropout = nn.Dropout(config.dropout)
        self.head = Head(config.hidden[last], target.size, projection=config.projection)
        self.time = _Time(config.hidden, 1 + config.step) if config.time else None

    def forward(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        *,
        time: Tensor | None = None,
        step: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """``[B, *source]`` to ``[B, *target]``; ``time [B]`` and ``step [B]`` in [0, 1], 0 where they are not given.

        Raises:
            Unsupported: a time or a step for a network that was built without.
        """
        vector = self._vector(conditions, len(x))
        changes = self._changes({"time": time, "step": step}, x)
        hidden = x.flatten(1)
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            hidden = layer(hidden)
            if index == 0 and vector is not None and not self.config.projection:
                hidden = hidden + vector
            hidden = norm(hidden)
            if changes is not None:
                scale, shift = changes[index].chunk(2, 1)
                hidden = hidden * (1 + scale) + shift
            hidden = self.dropout(self.activation(hidden))
        out = self.head(hidden, vector if self.config.projection else None)
        return squash(out, self.config.output).reshape(len(x), self.target.channels, *self.target.space)

    def _vector(self, conditions: dict[str, Field] | None, rows: int) -> Tensor | None:
        if self.conditioner is None:
            return None
        made: Condition = self.conditioner(conditions, rows)
        return made.vector

    def _changes(self, told: dict[str, Tensor | None], x: Tensor) -> list[Tensor] | None:
        for name, value in told.items():
            if value is not None and not getattr(self.config, name):
                raise Unsupported(
                    f"this mlp takes no {name}", cure=f"set {name}: true in its options under model.network"
                )
        if self.time is None:
            return None
        taken = [value for name, value in told.items() if getattr(self.config, name)]
        changes: list[Tensor] = self.time([x.new_zeros(len(x)) if value is None else value for value in taken])
        return changes


class _Time(nn.Module):
    """From moments, each ``[B]`` in [0, 1], to a scale and a shift for each hidden layer."""

    frequencies: Tensor

    def __init__(self, hidden: list[int], moments: int) -> None:
        super().__init__()
        steps = torch.linspace(0, math.log(_FASTEST), _FREQUENCIES)
        self.register_buffer("frequencies", steps.exp(), persistent=False)
        width = hidden[0]
        self.embed = nn.Sequential(linear(2 * _FREQUENCIES * moments, width, math.sqrt(2)), nn.SiLU())
        self.changes = nn.ModuleList(linear(width, 2 * size) for size in hidden)

    def forward(self, moments: list[Tensor]) -> list[Tensor]:
        angles = torch.cat([moment.float()[:, None] * self.frequencies for moment in moments], 1)
        embedded = self.embed(torch.cat([angles.cos(), angles.sin()], 1))
        return [change(embedded) for change in self.changes]


def _norm(name: str, width: int) -> nn.Module:
    return nn.BatchNorm1d(width) if name == "batch" else nn.LayerNorm(width) if name == "layer" else nn.Identity()


def _check(source: Spec, target: Spec) -> None:
    for port, spec in (("source", source), ("target", target)):
        if spec.form is not Form.TENSOR:
            raise Unsupported(
                f"mlp maps tensors to tensors, its {port} is not one",
                given=spec.form.value,
                cure="for tokens use transformer, lstm or gru",
            )
