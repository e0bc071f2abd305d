"""What a network is: it computes; it knows no loss and no modality.

A network maps a **source** port to a **target** port (`Spec`), given raw conditions that its own conditioner encodes.
A generator maps a flat latent to an image, a discriminator an image to a flat score, a language model tokens to
logits over tokens: the same `convolutional` or `mlp` serves any of these by the shapes of its ports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn

from miaobi.networks._conditioner import Conditioner, Conditioning
from miaobi.types import Condition, Field, Form, Settings, Size, Spec


class NetworkConfig(Settings):
    """What every network's ``Config`` has."""

    conditioner: dict[str, Conditioning] = {}


class Network(nn.Module, ABC):
    """Base of networks.

    Args:
        config: validated options.
        source: what goes in.
        target: what comes out; for tokens, logits ``[B, L, target.vocabulary]``.
        conditions: what it may be conditioned on, by name.
    """

    class Config(NetworkConfig):
        """The network's options in a recipe."""

    lays_over: ClassVar[bool] = False
    """Whether a condition with the space of its input or output is laid over it, where the recipe does not say."""

    def __init__(self, config: Any, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__()
        self.config = config
        self.source, self.target, self.conditions = source, target, conditions

    @property
    def borrowed(self) -> int:
        """Numbers that it computes with and that are not its own: of a public model that it only refers to."""
        return 0

    @classmethod
    @abstractmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Any:
        """A sensible ``Config`` for these ports at a size.

        Raises:
            Unsupported: the network cannot map ``source`` to ``target``; names what could.
        """

    def make_conditioner(self, width: int) -> Conditioner | None:
        """A conditioner over ``self.conditions`` giving ``width`` numbers a vector; ``None`` without conditions."""
        space = (self.source.space or self.target.space) if self.lays_over else ()
        return Conditioner(self.conditions, self.config.conditioner, width, space) if self.conditions else None

    @abstractmethod
    def forward(self, x: Tensor, conditions: dict[str, Field] | None = None, **inputs: Any) -> Any:
        """The target for a source. Extra ``inputs`` are named by the architecture (``time``, ``lengths``, ...)."""


class TokenNetwork(Network):
    """A causal network over tokens: ``forward`` in parallel, ``prefill`` and ``step`` over a cache.

    ``forward(x, conditions, lengths=None, segments=None)`` takes integers ``[B, L]`` or probabilities ``[B, L, V]``
    and gives logits ``[B, L, V]``; position t sees positions up to t of its own segment only. Padding is on the right.
    With ``logits=False`` it gives what the one matrix ``head`` turns into logits, so a loss need not hold them all.
    """

    differentiable: ClassVar[bool] = False
    """Whether `prefill` and `step` carry gradients, and `step` takes probabilities ``[B, V]`` as well."""

    @property
    @abstractmethod
    def head(self) -> Tensor:
        """``[V, D]``: logits are ``hidden @ head.T``."""

    @property
    def plain_head(self) -> bool:
        """Whether logits are just that; else only ``forward`` with ``logits=True`` makes them."""
        return True

    @abstractmethod
    def hidden(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        """What the head turns into logits: ``[B, L, D]`` for the inputs of `forward`, which is what callers use."""

    def forward(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        *,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
        logits: bool = True,
        **inputs: Any,
    ) -> Tensor:
        """Logits ``[B, L, V]``, or with ``logits=False`` hidden states ``[B, L, D]``."""
        hidden = self.hidden(x, conditions, lengths, segments)
        return nn.functional.linear(hidden, self.head) if logits else hidden

    @property
    def limit(self) -> int | None:
        """The longest sequence that it was built for; ``None``: no sequence is too long."""
        return None

    @abstractmethod
    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> Cache:
        """An empty cache for ``rows`` sequences of up to ``span`` tokens each, for the weights as they are now.

        ``dtype`` is the least precise arithmetic allowed in `prefill` and `step` (``None``: the parameters' own); a
        network may stay more precise.
        """

    @abstractmethod
    def prefill(self, tokens: Tensor, lengths: Tensor, cache: Any) -> Tensor:
        """Feed ``tokens [B, L]`` (right-padded, ``lengths [B]`` at least 1) to rows at any length.

        Gives the logits ``[B, V]`` after each row's last real token and advances ``cache`` in place.
        """

    @abstractmethod
    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        """Feed one token a row, ``[B]``; gives logits ``[B, V]`` and advances ``cache`` in place."""


@runtime_checkable
class Cache(Protocol):
    """State of incremental decoding; a row is a sequence, each with its own length."""

    lengths: Tensor
    """``[B]`` int64: tokens fed so far."""

    def select(self, rows: Tensor) -> Self:
        """A cache holding a copy of ``rows`` (int64 indices, repeats allowed), in that order."""
        ...

    def join(self, other: Self) -> Self:
        """A cache of this one's rows followed by ``other``'s, with the longer of their spans."""
        ...

    def empty(self, rows: int, span: int) -> Self:
        """An empty cache over the same weights, without preparing them again."""
        ...


@runtime_checkable
class Overwriting(Protocol):
    """A cache whose rows can be written over, which is cheaper than to copy all others."""

    def put(self, rows: Tensor, other: Self) -> bool:
        """Put ``other``'s rows in place of ``rows``; false, with nothing changed, where there is no room for them."""
        ...


def replace_rows(cache: Any, rows: Tensor, other: Any) -> Any:
    """``cache`` with ``other``'s rows in place of ``rows``, in that order; the one given is not used any more."""
    if isinstance(cache, Overwriting) and cache.put(rows, other):
        return cache
    order = torch.arange(len(cache.lengths), device=rows.device)
    order[rows] = torch.arange(len(rows), device=rows.device) + len(order)
    return cache.join(other).select(order)


@dataclass(frozen=True)
class SizeTable:
    """The same dial for every network: a width and a depth at each size."""

    width: tuple[int, int, int]
    depth: tuple[int, int, int]

    def at(self, size: Size) -> tuple[int, int]:
        """(width, depth) at a size."""
        index = ("tiny", "small", "large").index(size)
        return self.width[index], self.depth[index]


def combine(x: Tensor, condition: Condition) -> Tensor:
    """Add a condition's vector to ``x [B, D]`` where there is one."""
    return x if condition.vector is None else x + condition.vector


def embed_tokens(embedding: nn.Embedding, x: Tensor) -> Tensor:
    """Embeddings ``[..., D]`` of integers ``[...]`` or of probabilities ``[..., V]`` (relaxed text GANs)."""
    return embedding(x) if not torch.is_floating_point(x) else x @ embedding.weight


def is_tokens(spec: Spec) -> bool:
    """Whether a port carries tokens."""
    return spec.form is Form.TOKENS
