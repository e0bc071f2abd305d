"""A multilayer perceptron between any two continuous ports (Rosenblatt 1961; Rumelhart, Hinton and Williams 1986).

The network of the textbook generators, discriminators, encoders and decoders (Goodfellow et al. 2014; Kingma and
Welling 2014).
"""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal

from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks._activations import Activation, Squash, activation, gain, squash
from miaobi.networks._base import Network, NetworkConfig, SizeTable
from miaobi.networks._heads import Head, linear, require_how
from miaobi.types import Condition, Field, Form, Size, Spec

_SIZES = SizeTable(width=(64, 512, 1024), depth=(2, 2, 3))


class MLP(Network):
    """Flattens the source, passes it through hidden layers and shapes the result as the target.

    A condition's vector is added before the first hidden activation, which is what concatenating it to the source
    would do; with ``projection`` it enters the output only (Miyato and Koyama 2018, "cGANs with
    projection discriminator").
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

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """Equal hidden widths; conditions by projection where the target is one score."""
        _check(source, target)
        width, depth = _SIZES.at(size)
        return cls.Config(hidden=[width] * depth, projection=target.size == 1 and bool(conditions))

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

    def forward(self, x: Tensor, conditions: dict[str, Field] | None = None, **inputs: Any) -> Tensor:
        """``[B, *source]`` to ``[B, *target]``."""
        vector = self._vector(conditions, len(x))
        hidden = x.flatten(1)
        for index, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            hidden = layer(hidden)
            if index == 0 and vector is not None and not self.config.projection:
                hidden = hidden + vector
            hidden = self.dropout(self.activation(norm(hidden)))
        out = self.head(hidden, vector if self.config.projection else None)
        return squash(out, self.config.output).reshape(len(x), self.target.channels, *self.target.space)

    def _vector(self, conditions: dict[str, Field] | None, rows: int) -> Tensor | None:
        if self.conditioner is None:
            return None
        made: Condition = self.conditioner(conditions, rows)
        return made.vector


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
