"""Families whose one network reads a condition and says something about it in numbers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import UnknownName, Unsupported
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._frame import Frame, token_tables
from miaobi.networks import Network
from miaobi.types import Field, Form, Phase, Spec, vector_spec


class ReadingConfig(FamilyConfig):
    """What is read."""

    condition_drop: float = Value(0.0, ge=0, le=1, description="share of items whose conditions are dropped")
    read: str | None = Value(
        None, description="the condition that the network reads; default: the first of tokens, or else the first tensor"
    )


class ReadingFamily(Family):
    """Base: the network reads one condition, framed tokens or a tensor; its conditioner encodes the others.

    An absent text is read as an empty one, an absent tensor as zeros.
    """

    class Config(ReadingConfig):
        """Options of the family."""

    roles: ClassVar[dict[str, str]] = {"network": "encoder"}
    network: Network

    def __init__(
        self,
        config: Any,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.read, self.others = _split(config, conditions)

    @classmethod
    @abstractmethod
    def outputs(cls, target: Spec) -> int:
        """How many numbers are said of an item."""

    @classmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """What is read in, numbers out."""
        read, others = _split(config, conditions)
        said, source = vector_spec(cls.outputs(target)), conditions[read]
        if source.form is Form.TENSOR:
            return {"network": Ports(source, said, others)}
        return {"network": Ports(Frame(source.vocabulary).port(source), said, others, inputs=("real",))}

    def phases(self) -> list[Phase]:
        return [Phase("train", ("network",))]

    def token_tables(self) -> dict[str, str]:
        """See `Spelling`."""
        return token_tables(self.read, self.others)

    def said(self, conditions: Mapping[str, Field], rows: int) -> Tensor:
        """``[rows, outputs]`` float32; a condition that is missing counts as absent for every row."""
        spec, field = self.conditions[self.read], conditions.get(self.read)
        others = {name: conditions[name] for name in self.others if name in conditions}
        if field is None:
            field = _nothing(spec, rows, self.device)
        if spec.form is Form.TOKENS:
            tokens, real = Frame(spec.vocabulary)(field)
            return self.network(tokens, others, real=real).float()  # type: ignore[no-any-return]
        present = field.is_present().view(-1, *[1] * (field.values.ndim - 1))
        return self.network(field.values * present, others).float()  # type: ignore[no-any-return]


def _split(config: Any, conditions: Mapping[str, Spec]) -> tuple[str, dict[str, Spec]]:
    """The condition that is read, and the others.

    Raises:
        UnknownName: ``read`` names no condition.
        Unsupported: there is none that can be read.
    """
    if config.read is not None and config.read not in conditions:
        raise UnknownName("condition in model.options.read", config.read, conditions)
    named = conditions if config.read is None else {config.read: conditions[config.read]}
    forms = (Form.TOKENS, Form.TENSOR)
    found = [name for form in forms for name, spec in named.items() if spec.form is form]
    if not found:
        raise Unsupported(
            "there is nothing to read",
            given=f"conditions {sorted(named)}",
            cure="name a text, an image or a sound in data.condition",
        )
    return found[0], {name: spec for name, spec in conditions.items() if name != found[0]}


def _nothing(spec: Spec, rows: int, device: Any) -> Field:
    if spec.form is Form.TOKENS:
        return Field(torch.zeros(rows, 0, dtype=torch.int64, device=device))
    return Field(torch.zeros(rows, spec.channels, *spec.space, device=device))
