"""The records that pass between layers.

Everything continuous is a float tensor ``[batch, channels, *space]``; everything else is a token
sequence ``[batch, length]`` or a label ``[batch]``. An item is one target and any number of named conditions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from miaobi.errors import InvalidRecipe, nearest

Size = Literal["tiny", "small", "large"]


class Form(StrEnum):
    """What a target or a condition looks like to a network."""

    TENSOR = "tensor"
    TOKENS = "tokens"
    LABEL = "label"


@dataclass(frozen=True, slots=True)
class Spec:
    """What a target, a condition, or a network's port looks like.

    Attributes:
        form: tensor, tokens or label.
        channels: TENSOR: channels (with ``space == ()``: the length of a flat vector).
        space: TENSOR: extents, 1-D sound, 2-D image, 3-D video.
        vocabulary: TOKENS: number of distinct tokens; LABEL: number of classes.
        max_length: TOKENS: longest sequence, without begin and end.
        stream: TOKENS: items are windows of one long text; no begin or end token is put around them.
        begin: TOKENS: the tokenizer's own begin token (for a stream: where generation starts).
        end: TOKENS: the tokenizer's own end token.
        unknown: TOKENS: what stands for anything outside the vocabulary; it is learnt, and never drawn.
        fixed: TOKENS: every sequence has exactly ``max_length`` tokens, and no end token.
        shared: TOKENS, for a condition: it uses the target's tokenizer.
        streams: TOKENS: number of sequences that are interleaved; token i is of stream ``i % streams``.
        hold: TOKENS: says that its stream goes on with its last other token.
        partial: TOKENS, for a condition: what is given of the target. It is as long as the target, and its token is 0
            where the target's is to be written, else the target's plus 1, which comes back as it is.
        levels: TENSOR: number of evenly spaced values in [-1, 1] that data takes (256 for 8-bit images);
            0 where the data is not quantised. Likelihoods are of the quantised data where it is set.
    """

    form: Form
    channels: int = 0
    space: tuple[int, ...] = ()
    vocabulary: int = 0
    max_length: int = 0
    stream: bool = False
    begin: int | None = None
    end: int | None = None
    unknown: int | None = None
    fixed: bool = False
    shared: bool = False
    streams: int = 1
    hold: int | None = None
    partial: bool = False
    levels: int = 0

    @property
    def dims(self) -> int:
        """Number of space axes: 1 sound, 2 image, 3 video, 0 a flat vector."""
        return len(self.space)

    @property
    def size(self) -> int:
        """TENSOR: numbers an item; TOKENS: ``max_length``; LABEL: 1."""
        if self.form is Form.TENSOR:
            total = self.channels
            for extent in self.space:
                total *= extent
            return total
        return self.max_length if self.form is Form.TOKENS else 1

    def to_json(self) -> dict[str, Any]:
        """A mapping that `from_json` reads back."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Spec:
        """The inverse of `to_json`."""
        values = dict(data)
        values["form"] = Form(values["form"])
        values["space"] = tuple(values.get("space", ()))
        return cls(**values)


def vector_spec(length: int) -> Spec:
    """A flat vector port of ``length`` numbers: a latent, a score, an embedding."""
    return Spec(Form.TENSOR, channels=length)


class _Tensors:
    """What `Field` and `Batch` share: moving and choosing rows of every tensor inside."""

    def map(self, function: Any) -> Self:
        """A copy with ``function`` applied to every tensor inside, however deep."""
        return replace(self, **{f.name: _apply(getattr(self, f.name), function) for f in fields(self)})  # type: ignore[type-var, arg-type]

    def to(self, device: torch.device | str) -> Self:
        """A copy on ``device``."""
        return self.map(lambda tensor: tensor.to(device))

    def select(self, rows: Tensor | slice) -> Self:
        """A copy with only ``rows`` of the batch axis."""
        return self.map(lambda tensor: tensor[rows])


@dataclass(frozen=True, slots=True)
class Field(_Tensors):
    """A batch of one thing: the target, or one condition.

    Attributes:
        values: TENSOR ``[B, C, *space]`` in [-1, 1]; TOKENS ``[B, L]`` int64, zero past its end; LABEL ``[B]`` int64.
        lengths: TOKENS: ``[B]`` int64; ``None`` where every row is full.
        weight: loss mask or weight, the shape of ``values`` without channels; ``None`` is all ones.
        segments: TOKENS: ``[B, L]`` which packed item a position belongs to; ``None`` is one item a row.
        present: ``[B]`` bool: false where the condition was dropped or never given; ``None`` is all true.
    """

    values: Tensor
    lengths: Tensor | None = None
    weight: Tensor | None = None
    segments: Tensor | None = None
    present: Tensor | None = None

    def __len__(self) -> int:
        return self.values.shape[0]

    def mask(self) -> Tensor:
        """TOKENS: ``[B, L]`` bool, true at real positions."""
        length = self.values.shape[1]
        if self.lengths is None:
            return torch.ones(self.values.shape[:2], dtype=torch.bool, device=self.values.device)
        return torch.arange(length, device=self.values.device)[None] < self.lengths[:, None]

    def before_last(self) -> Field | None:
        """TOKENS: what stands before the last run of tokens that count; ``None`` where every token may count.

        Of a dialogue, all that was said before the last answer.
        """
        if self.weight is None:
            return None
        counts = (self.weight > 0) & self.mask()
        begins = counts.clone()
        begins[:, 1:] &= ~counts[:, :-1]
        places = torch.arange(counts.shape[1], device=counts.device)
        lengths = (places * begins).amax(1)
        return Field(self.values[:, : max(1, int(lengths.max()))], lengths=lengths)

    def is_present(self) -> Tensor:
        """``[B]`` bool, all true when ``present`` is not set."""
        if self.present is not None:
            return self.present
        return torch.ones(len(self), dtype=torch.bool, device=self.values.device)


@dataclass(frozen=True, slots=True)
class Batch(_Tensors):
    """A batch of items.

    Attributes:
        target: what is generated.
        conditions: what it is generated from, by name; each with its own modality.
        extra: whatever else a family needs, e.g. the rejected answer of a preference pair.
        ids: ``[B]`` int64, the item ids that random numbers are derived from.
    """

    target: Field
    conditions: dict[str, Field] = field(default_factory=dict)
    extra: dict[str, Field] = field(default_factory=dict)
    ids: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.int64))

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True, slots=True)
class Condition(_Tensors):
    """What a network's conditioner made of the raw conditions; each part is optional.

    Attributes:
        vector: ``[B, D]``.
        sequence: ``[B, S, D]``.
        mask: ``[B, S]`` bool, true at real positions of ``sequence``.
        tokens: ``[B, S]`` int64, the token of the target that each position of ``sequence`` spells, or -1.
        spatial: ``[B, C, *space]``.
    """

    vector: Tensor | None = None
    sequence: Tensor | None = None
    mask: Tensor | None = None
    tokens: Tensor | None = None
    spatial: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss, summed over items so that micro-batches and processes add up; the trainer divides once.

    Attributes:
        total: scalar, the sum over items (or tokens); what is differentiated.
        count: what to divide by, summed likewise.
        parts: named detached sums for the log, divided by ``count`` too.
        statistics: detached tensors, summed over micro-batches and processes, given to ``after_phase``.
    """

    total: Tensor
    count: Tensor | float
    parts: dict[str, Tensor] = field(default_factory=dict)
    statistics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """One turn of a training step.

    Attributes:
        name: given to ``Family.forward``.
        modules: attribute names of the family; only these require gradients. Equal sets share an optimiser.
        interval: the phase runs every ``interval`` steps.
        repeat: times it runs in a step, each on a fresh batch.
        start: first step; ``stop``: one past the last (``None``: never stops).
    """

    name: str
    modules: tuple[str, ...]
    interval: int = 1
    repeat: int = 1
    start: int = 0
    stop: int | None = None

    def active(self, step: int) -> bool:
        """Whether the phase runs at ``step`` (counted from 0)."""
        return self.start <= step and (self.stop is None or step < self.stop) and step % self.interval == 0


@dataclass(frozen=True, slots=True)
class Samples(_Tensors):
    """What a sampler made: ``values`` as in `Field`, ``lengths`` for tokens, ``log_probs [B]`` where known (nats)."""

    values: Tensor
    lengths: Tensor | None = None
    log_probs: Tensor | None = None

    def field(self) -> Field:
        """The same as a `Field`."""
        return Field(self.values, lengths=self.lengths)


@dataclass(frozen=True, slots=True)
class Bound:
    """A log-likelihood: ``nats [B]`` are negative log-likelihoods, exact or an upper bound on them.

    ``predicted [B]`` counts what was predicted (tokens with the end token, or dimensions); for a stream window the
    first token is context only, so it is one fewer than the window holds.
    """

    nats: Tensor
    exact: bool
    predicted: Tensor | None = None


class Settings(BaseModel):
    """Frozen typed configuration; unknown keys are refused with the nearest match."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def parse(cls, data: Mapping[str, Any] | None, where: str = "settings") -> Self:
        """Validate a mapping.

        Raises:
            InvalidRecipe: naming every wrong key and value, what is allowed, and the nearest known key.
        """
        if not isinstance(data, Mapping | None):
            raise InvalidRecipe(f"{where} is not a mapping of names to values", given=data, allowed=cls.model_fields)
        try:
            return cls.model_validate(dict(data or {}))
        except ValidationError as error:
            raise InvalidRecipe("; ".join(_explain(cls, item, where) for item in error.errors())) from None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values that `parse` reads back."""
        return self.model_dump(mode="json")


def _explain(model: type[BaseModel], item: Any, where: str) -> str:
    path: Sequence[Any] = item["loc"]
    name = ".".join([where, *(str(part) for part in path)])
    if item["type"] != "extra_forbidden":
        return f"{name}: {item['msg']}; given: {item['input']!r}"
    known = list(_model_at(model, path[:-1]).model_fields)
    near = nearest(str(path[-1]), known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"allowed: {', '.join(sorted(known)) or 'nothing'}"
    return f"{name}: unknown key; {hint}"


def _model_at(model: type[BaseModel], path: Sequence[Any]) -> type[BaseModel]:
    for part in path:
        info = model.model_fields.get(str(part))
        candidates = [] if info is None else [info.annotation, *getattr(info.annotation, "__args__", ())]
        inner = [c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)]
        if not inner:
            return model
        model = inner[0]
    return model


def _apply(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _apply(inner, function) for key, inner in value.items()}
    if isinstance(value, _Tensors):
        return value.map(function)
    return value
