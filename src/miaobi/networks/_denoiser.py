"""What networks that denoise share: equal ports, a time, and how conditions enter."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.networks._base import Network, NetworkConfig
from miaobi.networks._direct import DirectPath
from miaobi.networks._resampling import resize
from miaobi.networks._time import TimeEmbedding
from miaobi.types import Condition, Field, Form, Spec


@dataclass(frozen=True, slots=True)
class Signal:
    """What steers every block.

    Attributes:
        style: ``[B, D]``, time, step and the vector conditions, ready for a linear layer.
        sequence: ``[B, S, D]``, conditions to attend to.
        mask: ``[B, S]`` bool, true at real positions of ``sequence``.
    """

    style: Tensor
    sequence: Tensor | None
    mask: Tensor | None


class DenoiserConfig(NetworkConfig):
    """What every denoiser's ``Config`` has."""

    step: bool = Value(False, description="takes the size of the sampler's step, as shortcut models need")
    direct: bool = Value(
        True, description="adds learnt multiples of the source and of spatial conditions to the output"
    )


class Denoiser(Network):
    """A network between two ports of equal space that is told a time and, where its config says so, a step's size.

    A vector condition is added to the time's embedding, a sequence is attended to, and a spatial one is brought to the
    source's space and concatenated to it. Without a time it is a network between tensors, as at time 0.

    Args:
        width: length of the vector that steers the blocks, and of the positions of a sequence.
    """

    lays_over = True

    def __init__(self, config: Any, source: Spec, target: Spec, conditions: dict[str, Spec], width: int) -> None:
        self.require_ports(source, target)
        super().__init__(config, source, target, conditions)
        self.conditioner = self.make_conditioner(width)
        self.time = TimeEmbedding(width)
        self.step = TimeEmbedding(width) if config.step else None
        self._require_spatial()
        starts = self._alike() if config.direct else []
        self.direct = DirectPath(starts, target.channels, width) if starts else None

    @classmethod
    def require_ports(cls, source: Spec, target: Spec) -> None:
        """Refuse ports that are not tensors of one space.

        Raises:
            Unsupported: naming what could.
        """
        name = cls.__name__.lower()
        for port, spec in (("source", source), ("target", target)):
            if spec.form is not Form.TENSOR or spec.dims > 3:
                raise Unsupported(
                    f"{name} maps tensors of 1 to 3 space axes, its {port} is not one",
                    given=spec.to_json(),
                    cure="for tokens use transformer, lstm or gru",
                )
        if source.space != target.space:
            raise Unsupported(
                f"{name} needs a target with the source's space",
                given=(source.space, target.space),
                cure="use convolutional or mlp between different spaces",
            )
        if not source.space:
            raise Unsupported(f"{name} needs ports with space", given=(source.size, target.size), cure="use mlp")

    @property
    def inputs(self) -> int:
        """Channels of the source and of what is concatenated to it."""
        return self.source.channels + (self.conditioner.spatial_channels() if self.conditioner else 0)

    @property
    def takes_sequence(self) -> bool:
        """Whether a condition is a sequence."""
        return self.conditioner is not None and "sequence" in self.conditioner.how.values()

    def forward(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        *,
        time: Tensor | None = None,
        step: Tensor | None = None,
        **inputs: Any,
    ) -> Tensor:
        """``[B, *source]`` to ``[B, *target]`` float32, at ``time [B]`` in [0, 1] (0 clean, 1 noise).

        ``step [B]`` in [0, 1] is 0 where it is not given.

        Raises:
            Unsupported: a step for a network that was built without.
        """
        condition = Condition() if self.conditioner is None else self.conditioner(conditions, len(x))
        if condition.spatial is not None:
            x = torch.cat([x, resize(condition.spatial.to(x.dtype), self.source.space)], 1)
        style = self._moment(time, step, len(x))
        style = F.silu(style if condition.vector is None else style + condition.vector)
        out = self.denoise(x, Signal(style, condition.sequence, condition.mask))
        return out if self.direct is None else out + self.direct(x, style)

    @abstractmethod
    def denoise(self, x: Tensor, signal: Signal) -> Tensor:
        """``[B, inputs, *space]`` to ``[B, *target]``."""

    def _alike(self) -> list[int]:
        """Where, among the inputs, something with the target's channels begins."""
        starts = [0] if self.source.channels == self.target.channels else []
        at, how = self.source.channels, {} if self.conditioner is None else self.conditioner.how
        for name in (name for name, entry in how.items() if entry == "spatial"):
            starts += [at] if self.conditions[name].channels >= self.target.channels else []
            at += self.conditions[name].channels + 1
        return starts

    def _moment(self, time: Tensor | None, step: Tensor | None, rows: int) -> Tensor:
        embedded: Tensor = self.time(time, rows)
        if self.step is not None:
            return embedded + self.step(step, rows)
        if step is not None:
            name = type(self).__name__.lower()
            raise Unsupported(f"this {name} takes no step", cure="set step: true in its options under model.network")
        return embedded

    def _require_spatial(self) -> None:
        how = {} if self.conditioner is None else self.conditioner.how
        wrong = {
            name: self.conditions[name].to_json()
            for name, entry in how.items()
            if entry == "spatial" and self.conditions[name].dims != self.source.dims
        }
        if wrong:
            raise Unsupported(
                f"a spatial condition of {type(self).__name__.lower()} needs {self.source.dims} space axes",
                given=wrong,
                cure="set `how` of these conditions to vector or sequence in the network's conditioner",
            )
