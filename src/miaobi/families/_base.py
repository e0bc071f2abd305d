"""What a family is: an objective and a sampler around networks; and the abilities that it may have.

Abilities are Protocols, asked for with ``isinstance``, never with ``hasattr``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import UnknownName, Unsupported
from miaobi.networks import Network
from miaobi.sampling.noise import uniform
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Settings, Spec


@dataclass(frozen=True, slots=True)
class Ports:
    """What the network of a role maps from and to, the conditions that it owns a conditioner for, and what it is told.

    ``inputs`` names keywords of its ``forward``; where its ``Config`` has an option of that name, that is switched on.
    """

    source: Spec
    target: Spec
    conditions: dict[str, Spec]
    inputs: tuple[str, ...] = ()


class FamilyConfig(Settings):
    """What every family's ``Config`` has."""

    condition_drop: float = Value(
        0.1, ge=0, le=1, description="share of items whose conditions are dropped in training"
    )


class Controls(Settings):
    """What sampling understands; an unsupported control is an error. Families extend it."""


class Family(nn.Module, ABC):
    """Base of families.

    Args:
        config: validated options.
        networks: a network a role, built by ``models/`` for `ports`.
        parts: frozen families by name.
        target: what is generated.
        conditions: what it is generated from.
    """

    class Config(FamilyConfig):
        """The family's options in a recipe."""

    class Controls(Controls):
        """The family's sampling controls."""

    tiny: ClassVar[Mapping[str, Any]] = {}
    """Options that train in seconds on one core: what the contract suite uses (with ``model.size: tiny``)."""
    targets: ClassVar[frozenset[Form]]
    roles: ClassVar[dict[str, str]] = {}
    """Role to default network."""
    couples_batch: ClassVar[bool] = False
    """Whether an item's loss depends on the other items of its batch."""
    edits_whole: ClassVar[bool] = False
    """Whether editing means the whole item where no mask says otherwise."""
    fills_any_length: ClassVar[bool] = False
    """Whether editing puts any number of tokens in place of those that a mask marks."""
    default_steps: ClassVar[int] = 2000
    extras: ClassVar[tuple[str, ...]] = ()
    """What every item has to bring besides target and conditions, by the names of ``data.extra``."""
    own_parts: ClassVar[Mapping[str, str]] = {}
    """Parts that it needs, and what they are where ``model.parts`` does not say."""
    keeps_tokens: ClassVar[bool] = False
    """Whether a run that starts from a model goes on with that model's fitted modalities, not with its own."""
    evaluation_only: ClassVar[frozenset[str]] = frozenset()
    """Options that change what the model scores and not the model: no search may choose them."""
    learns: ClassVar[bool] = True
    """Whether training changes what it says; false where a model that is trained already is shown examples at most."""
    costly_likelihood: ClassVar[bool] = False
    """Whether a likelihood takes many evaluations an item, so that it is measured only where it is named."""
    betas: ClassVar[tuple[float, float]] = (0.9, 0.95)
    """Adam's, where the recipe gives none."""
    precision: torch.dtype = torch.float32
    """Least precise arithmetic allowed when sampling; whoever loads a model sets what its run measured and recorded."""
    compiling: bool | None = False
    """Whether decoding steps are compiled; ``None``: where it pays back, which whoever loads a model to use it sets."""
    tokenizer: Any = None
    """The text of its tokens, where the target is text; whoever joins a family to its modality sets it."""
    rules: Any = None
    """What keeps drawn tokens to rules of the content, where its modality has any; set with ``tokenizer``."""

    def __init__(
        self,
        config: Any,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__()
        self.config = config
        self.target = target
        self.conditions = dict(conditions)
        self.parts_by_name = Frozen(parts)
        for role, network in networks.items():
            self.add_module(role, network)

    @property
    def double_backward(self) -> bool:
        """Whether a loss differentiates a gradient, which torch.compile and flash attention refuse."""
        return False

    @classmethod
    @abstractmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """What each role's network maps; the keys are those of ``roles``.

        Raises:
            Unsupported: this family cannot model such a target or condition.
        """

    @classmethod
    def defaults(cls, target: Spec) -> dict[str, str]:
        """Role to the network that serves where the recipe names none: ``roles``, or what suits the target better."""
        return dict(cls.roles)

    @classmethod
    @abstractmethod
    def metric(cls, form: Form) -> str:
        """The held-out figure (GROUP or GROUP.FIGURE) behind early stopping, best checkpoint and search."""

    @abstractmethod
    def phases(self) -> list[Phase]:
        """The turns of a step; empty for `Counting` families."""

    @abstractmethod
    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        """The loss of a phase, summed over items. ``seeds [B]`` are the only source of randomness but dropout."""

    def after_phase(self, phase: str, statistics: Mapping[str, Tensor]) -> None:
        """Update buffers (adaptive augmentation, codebooks) from statistics summed over the whole batch."""

    def shipped(self) -> Family:
        """What is saved as the model: itself, unless training carried more than is shipped."""
        return self

    def weights_from(self, other: Family) -> dict[str, Tensor]:
        """The whole state of this family after a start from ``other``: by default what the other has, name by name."""
        return dict(other.state_dict())

    def drop_conditions(self, batch: Batch, seeds: Tensor) -> Batch:
        """Clear ``present`` of each condition, independently, for ``condition_drop`` of the items."""
        rate = self.config.condition_drop
        if not batch.conditions or rate == 0:
            return batch
        kept = {
            name: replace(field, present=field.is_present() & (uniform(seeds, f"drop:{name}") >= rate))
            for name, field in batch.conditions.items()
        }
        return replace(batch, conditions=kept)

    @property
    def size(self) -> int:
        """Numbers that it computes with: its own, and those of public models that its networks refer to."""
        borrowed = sum(one.borrowed for one in self.children() if isinstance(one, Network))
        return borrowed + sum(parameter.numel() for parameter in self.parameters())

    @property
    def device(self) -> Any:
        """Where the parameters and buffers are."""
        tensor = next(chain[Tensor](self.parameters(), self.buffers()), None)
        return "cpu" if tensor is None else tensor.device


class Frozen:
    """Parts, kept out of ``nn.Module``'s sight so that they never enter an optimiser, an average or a checkpoint."""

    def __init__(self, parts: Mapping[str, Family]) -> None:
        self._parts: dict[str, Family] = {}
        for name, part in parts.items():
            self.add(name, part)

    def __getitem__(self, name: str) -> Family:
        if name not in self._parts:
            raise UnknownName("part", name, self._parts, cure="name it under model.parts")
        return self._parts[name]

    def __iter__(self) -> Any:
        return iter(self._parts)

    def add(self, name: str, part: Family) -> None:
        """Take in another part, frozen from now on."""
        self._parts[name] = part.eval().requires_grad_(False)


@runtime_checkable
class Sampling(Protocol):
    """Can make samples."""

    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """``len(seeds)`` samples; a batch equals its items one by one. ``lengths [B]`` caps tokens an item."""
        ...


@runtime_checkable
class Likelihood(Protocol):
    """Knows, or bounds, the likelihood of data."""

    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """Nats an item, of the data as quantised."""
        ...


@runtime_checkable
class Latent(Protocol):
    """Has a latent: reconstruct, interpolate, traverse, tokenise."""

    def encode(self, batch: Batch, *, seeds: Tensor | None = None) -> Field:
        """The posterior's mean, or a sample of it with ``seeds``."""
        ...

    def decode(self, z: Field, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        """Samples for latents."""
        ...


@runtime_checkable
class Drawing(Protocol):
    """Makes items from a latent that is drawn and cannot be inferred."""

    def latents(self, seeds: Tensor) -> Tensor:
        """``[len(seeds), D]`` draws of unit variance."""
        ...

    def from_latents(self, z: Tensor, conditions: dict[str, Field], *, controls: Any = None, seeds: Tensor) -> Samples:
        """Samples for latents; ``seeds`` are of whatever else is random."""
        ...


@runtime_checkable
class Editing(Protocol):
    """Can change part of an item."""

    def edit(self, batch: Batch, mask: Tensor, *, controls: Any = None, seeds: Tensor) -> Samples:
        """Samples that keep what ``mask`` (true: change) leaves."""
        ...


@runtime_checkable
class Embedding(Protocol):
    """Embeds items or conditions."""

    def embed(self, batch: Batch, side: str = "target") -> Tensor:
        """``[B, D]``."""
        ...


@runtime_checkable
class Predicting(Protocol):
    """Says what a target is, from its conditions."""

    def predict(self, conditions: dict[str, Field]) -> Tensor:
        """LABEL: log-probabilities ``[B, classes]``; TENSOR: estimates, the shape of targets."""
        ...


@runtime_checkable
class Showing(Protocol):
    """Is shown examples before an item."""

    @property
    def shown_count(self) -> int:
        """How many, at most."""
        ...

    def ordered(self, order: int) -> AbstractContextManager[None]:
        """The same examples come in another order inside; 0 is the usual one."""
        ...


@runtime_checkable
class Spelling(Protocol):
    """Has parameters with a row a token, which can be taken from a model of another vocabulary."""

    def token_tables(self) -> dict[str, str]:
        """Each such parameter, and whose tokens its first rows are: ``target`` or a condition's name.

        Rows behind the vocabulary are special tokens, the same in every family that has a parameter of that name.
        """
        ...


@runtime_checkable
class Representing(Protocol):
    """Turns targets into what other families can model, and back: latents, codes or embeddings."""

    def representations(self) -> dict[str, Spec]:
        """What each kind (``latents``, ``codes``, ``embeddings``) looks like; codes of a fixed length are ``fixed``."""
        ...

    def represent(self, batch: Batch, kind: str) -> Field:
        """The batch's targets in that kind; without randomness."""
        ...

    def restore(self, field: Field, kind: str, *, seeds: Tensor) -> Samples:
        """Targets for values of that kind.

        Raises:
            Unsupported: there is no way back from this kind.
        """
        ...


@runtime_checkable
class Counting(Protocol):
    """Learns by one pass of counting; ``phases()`` is empty and counts live in buffers."""

    def observe(self, batch: Batch) -> None:
        """Count a batch."""
        ...


@runtime_checkable
class Distilling(Protocol):
    """Predicts by distributions over a vocabulary, which can be kept near those of another model of its kind."""

    def distributions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities ``[N, V]`` float32 of all that is predicted in the batch, in an order that depends on the
        batch alone, and their loss weights ``[N]``. Differentiable; no condition is dropped.
        """
        ...


@runtime_checkable
class Decoding(Protocol):
    """Decodes token by token through the one engine of sampling, streaming and the server."""

    def engine(self, slots: int) -> Any:
        """An engine with ``add``, ``step`` and ``remove``."""
        ...


def refuse_prefix(prefix: Field | None, who: str, cure: str = "leave the prefix out") -> None:
    """Refuse a prefix where items are made whole.

    Raises:
        Unsupported: there is one.
    """
    if prefix is not None:
        raise Unsupported(f"{who} cannot continue a prefix", cure=cure)


def require(family: Family, ability: type[Any], what: str) -> Any:
    """``family`` as an ``ability``.

    Raises:
        Unsupported: it has not that ability.
    """
    if not isinstance(family, ability):
        raise Unsupported(
            f"{what} needs a family with the ability {ability.__name__}",
            given=type(family).__name__,
            cure="choose another family: `miaobi list families` shows what each can do",
        )
    return family
