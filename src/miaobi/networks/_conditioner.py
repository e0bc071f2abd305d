"""From raw conditions to what a network can use; every learning network owns one.

An absent condition (``Field.present`` false) is replaced by a learned null, which is what makes classifier-free
guidance possible (Ho and Salimans 2022, "Classifier-free diffusion guidance").
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.networks._convolutions import convolution
from miaobi.types import Condition, Field, Form, Settings, Spec

_COARSE = 4
"""Extent that a tensor is brought down to where it is pooled, along its shortest axis."""
_FINE = 256
"""Positions that it is brought down to where they are attended to."""


class Conditioning(Settings):
    """How one condition enters a network.

    ``how``: ``vector`` (pooled), ``sequence`` (kept apart, for attention) or ``spatial`` (concatenated by the network).
    """

    how: Literal["vector", "sequence", "spatial"] | None = Value(
        None,
        description="default: spatial for what has the space of the network's own input or output, else vector; "
        "networks that read their conditions keep all but labels apart",
    )
    depth: int | None = Value(
        None, ge=0, le=12, description="layers of the token encoder; default 1, or none under a network's own encoder"
    )


class Conditioner(nn.Module):
    """Encodes named conditions into one `Condition` of ``width``.

    Labels become embeddings; tokens go through a bidirectional GRU, pooled by its mean over real positions; tensors
    through strided convolutions. Vectors of several conditions are added; sequences are joined end to end.

    Args:
        specs: what each condition looks like.
        options: how each enters, as far as it is said.
        width: numbers a vector.
        space: of what conditions can be laid over; empty where they cannot.
        apart: whether all but labels are sequences, where ``options`` do not say, and tensors keep up to 256 positions
            instead of a few.
        depth: layers of the token encoder, where ``options`` do not say.
        embedding: what conditions that share the target's tokenizer are embedded by; ``None``: each has its own.
    """

    def __init__(
        self,
        specs: dict[str, Spec],
        options: dict[str, Conditioning],
        width: int,
        space: tuple[int, ...] = (),
        *,
        apart: bool = False,
        depth: int = 1,
        embedding: nn.Embedding | None = None,
    ) -> None:
        super().__init__()
        self.specs = dict(specs)
        self.how = {
            name: options.get(name, Conditioning()).how or _usual(spec, space, apart) for name, spec in specs.items()
        }
        depths = {name: one.depth for name, one in options.items() if one.depth is not None}
        self.encoders = nn.ModuleDict(
            {
                name: _encoder(spec, depths.get(name, depth), width, apart, embedding if spec.shared else None)
                for name, spec in specs.items()
                if self.how[name] != "spatial"
            }
        )
        self.nulls = nn.ParameterDict({name: nn.Parameter(torch.zeros(width)) for name in self.encoders})

    def forward(self, conditions: dict[str, Field] | None, rows: int) -> Condition:
        """The condition of ``rows`` items; a name that is missing counts as absent for every row."""
        conditions = conditions or {}
        vector: Tensor | None = None
        sequences: list[Tensor] = []
        masks: list[Tensor] = []
        tokens: list[Tensor] = []
        spatial: list[Tensor] = []
        for name in self.specs:
            field = conditions.get(name)
            if self.how[name] == "spatial":
                spatial.append(self._spatial(name, field, rows))
                continue
            sequence, mask = self._encode(name, field, rows)
            if self.how[name] == "sequence":
                sequences.append(sequence)
                masks.append(mask)
                tokens.append(self._tokens(name, field, mask))
            else:
                weights = mask.to(sequence.dtype)
                pooled = (sequence * weights[..., None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)
                vector = pooled if vector is None else vector + pooled
        apart = _visible(sequences, masks) if sequences else (None, None)
        return Condition(
            vector=vector,
            sequence=apart[0],
            mask=apart[1],
            tokens=torch.cat(tokens, 1) if tokens else None,
            spatial=torch.cat(spatial, 1) if spatial else None,
        )

    def spatial_channels(self) -> int:
        """Channels that the network has to concatenate."""
        return sum(spec.channels + 1 for name, spec in self.specs.items() if self.how[name] == "spatial")

    def _encode(self, name: str, field: Field | None, rows: int) -> tuple[Tensor, Tensor]:
        null = self.nulls[name]
        if field is None:
            return null.expand(rows, 1, -1), torch.ones(rows, 1, dtype=torch.bool, device=null.device)
        sequence, mask = self.encoders[name](field)
        present = field.is_present()
        first = torch.zeros_like(mask)
        first[:, 0] = True
        sequence = torch.where(present[:, None, None], sequence, null.to(sequence.dtype))
        return sequence, torch.where(present[:, None], mask, first)

    def _tokens(self, name: str, field: Field | None, mask: Tensor) -> Tensor:
        """The target's tokens that stand where ``mask [B, S]`` is true, else -1."""
        none = torch.full(mask.shape, -1, device=mask.device)
        if field is None or not self.specs[name].shared or mask.shape != field.values.shape:
            return none
        return torch.where(mask & field.is_present()[:, None], field.values, none)

    def _spatial(self, name: str, field: Field | None, rows: int) -> Tensor:
        spec = self.specs[name]
        if field is None:
            device = next(self.parameters(), torch.empty(0)).device
            return torch.zeros(rows, spec.channels + 1, *spec.space, device=device)
        present = field.is_present().view(-1, *[1] * (field.values.ndim - 1)).to(field.values.dtype)
        return torch.cat([field.values * present, present.expand(-1, 1, *field.values.shape[2:])], 1)


class _LabelEncoder(nn.Module):
    def __init__(self, spec: Spec, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(spec.vocabulary, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)

    def forward(self, field: Field) -> tuple[Tensor, Tensor]:
        mask = torch.ones(len(field), 1, dtype=torch.bool, device=field.values.device)
        return self.embedding(field.values)[:, None], mask


class _TokenEncoder(nn.Module):
    def __init__(self, spec: Spec, depth: int, width: int, embedding: nn.Embedding | None) -> None:
        super().__init__()
        self.width = width
        self.embedding: nn.Embedding | None = None
        # In a tuple, it stays the parameter of its owner alone.
        self._lent: tuple[nn.Embedding, ...] = () if embedding is None else (embedding,)
        if embedding is None:
            self.embedding = nn.Embedding(spec.vocabulary, width)
            nn.init.normal_(self.embedding.weight, std=width**-0.5)
        half = (width + 1) // 2
        self.layers = nn.GRU(width, half, depth, batch_first=True, bidirectional=True) if depth else None
        self.out = nn.Linear(2 * half, width) if depth else None

    def forward(self, field: Field) -> tuple[Tensor, Tensor]:
        mask = field.mask()
        if mask.shape[1] == 0:
            empty = torch.zeros(len(field), 1, self.width, device=mask.device)
            return empty, torch.zeros(len(field), 1, dtype=torch.bool, device=mask.device)
        embedding = self._lent[0] if self.embedding is None else self.embedding
        x = embedding(field.values) * mask[..., None]
        if self.layers is not None and self.out is not None:
            lengths = mask.sum(1).clamp(min=1).cpu()
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
            x, _ = nn.utils.rnn.pad_packed_sequence(
                self.layers(packed)[0], batch_first=True, total_length=mask.shape[1]
            )
            x = self.out(x)
        return x, mask


class _TensorEncoder(nn.Module):
    def __init__(self, spec: Spec, width: int, fine: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels, extents = spec.channels, spec.space
        if not spec.dims:
            layers = [nn.Linear(channels, width), nn.SiLU(), nn.Linear(width, width)]
        else:
            while not layers or (math.prod(extents) > _FINE if fine else min(extents) > _COARSE):
                layers += [convolution(spec.dims)(channels, width, 3, stride=2, padding=1), nn.SiLU()]
                channels, extents = width, tuple((extent + 1) // 2 for extent in extents)
            layers.append(convolution(spec.dims)(width, width, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, field: Field) -> tuple[Tensor, Tensor]:
        x = self.layers(field.values)
        x = x[:, None] if x.ndim == 2 else x.flatten(2).transpose(1, 2)
        return x, torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)


def _usual(spec: Spec, space: tuple[int, ...], apart: bool) -> str:
    if space and spec.space == space:
        return "spatial"
    return "sequence" if apart and spec.form is not Form.LABEL else "vector"


def _visible(sequences: list[Tensor], masks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Sequences end to end; a row of nothing but empty ones shows a zero, so that attention has where to look."""
    sequence, mask = torch.cat(sequences, 1), torch.cat(masks, 1)
    sequence = sequence * mask[..., None]
    first = torch.zeros_like(mask)
    first[:, 0] = True
    return sequence, mask | (first & ~mask.any(1, keepdim=True))


def _encoder(spec: Spec, depth: int, width: int, fine: bool, embedding: nn.Embedding | None) -> nn.Module:
    if spec.form is Form.LABEL:
        return _LabelEncoder(spec, width)
    if spec.form is Form.TOKENS:
        return _TokenEncoder(spec, depth, width, embedding)
    return _TensorEncoder(spec, width, fine)
