"""What preference tuning shares: a policy, a frozen reference, and the ratio of their likelihoods.

The implied reward of an answer y to a prompt x is ``beta * log(policy(y | x) / reference(y | x))`` (Rafailov et al.
2023, "Direct preference optimization", equation 5 without the term that depends on x alone).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._cross_entropy import token_divergence
from miaobi.families._token_requests import TokenEngine
from miaobi.families.autoregressive import Autoregressive, evaluating
from miaobi.networks import Network, TokenNetwork
from miaobi.types import Batch, Bound, Field, Form, Phase, Samples, Spec

REFERENCE = "reference"
"""The part that rewards are relative to."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A policy's answers beside a reference's.

    Attributes:
        ratio: ``[B]``, the logarithm of policy over reference, in nats; differentiable in the policy.
        divergence: ``[B]``, KL(policy || reference) of the next token, summed along the answer; detached.
        predicted: ``[B]``, tokens of the answer, with its end.
    """

    ratio: Tensor
    divergence: Tensor
    predicted: Tensor


class PreferenceFamily(Family):
    """Base of families that tune a language model; what is shipped is that language model.

    The part ``reference`` is `Autoregressive` over the same tokens; by default the policy as it is at the first step.
    Dropout is off, so that policy and reference differ by their weights alone.
    """

    class Config(FamilyConfig):
        """Options of the objective."""

        condition_drop: float = Value(
            0.0, ge=0, le=1, description="share of items whose conditions are dropped in training"
        )
        beta: float = Value(0.1, gt=0, le=100, description="how dear it is to leave the reference")

    class Controls(Autoregressive.Controls):
        """How tokens are drawn or searched for."""

    targets = frozenset({Form.TOKENS})
    roles: ClassVar[dict[str, str]] = {"network": "transformer"}
    own_parts: ClassVar[Mapping[str, str]] = {REFERENCE: "initial"}
    keeps_tokens = True
    default_steps = 500
    network: TokenNetwork

    def __init__(
        self,
        config: Any,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        settings = Autoregressive.Config(condition_drop=config.condition_drop)
        policy = Autoregressive(settings, networks, {}, target, conditions)
        policy.parts_by_name = self.parts_by_name
        # Out of nn.Module's sight: its one network is this one's, and has one name.
        self._held = (policy,)
        if REFERENCE in parts:
            _check_reference(parts[REFERENCE], policy)

    @classmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """As `Autoregressive`.

        Raises:
            Unsupported: a target that is one long text.
        """
        if target.stream:
            raise Unsupported("what is preferred is an item, and a stream has none", cure="give items")
        return Autoregressive.ports(Autoregressive.Config(), target, conditions)

    @classmethod
    def metric(cls, form: Form) -> str:
        """How often the implied reward tells which held-out answer is preferred."""
        return "preference.preference_accuracy"

    def phases(self) -> list[Phase]:
        return [Phase("train", ("network",))]

    def shipped(self) -> Autoregressive:
        """The policy as a language model; while training it knows the reference."""
        return self._held[0]

    def weights_from(self, other: Family) -> dict[str, Tensor]:
        """A language model's weights are the policy's, all of them."""
        return dict(other.state_dict())

    def compared(self, batch: Batch) -> Compared:
        """A batch's targets under the policy and under the reference."""
        reference, policy = cast(Autoregressive, self.parts_by_name[REFERENCE]), self.shipped()
        with _without_dropout(self.network):
            mine = policy.scored(batch)
        with torch.no_grad():
            theirs = reference.scored(batch)
            nats = token_divergence((mine.says, mine.head), (theirs.says, theirs.head), policy.layout.outputs.banned)
            divergence = torch.zeros(mine.counted.shape, device=nats.device)
            divergence[mine.counted] = nats
        return Compared(theirs.nats - mine.nats, divergence.sum(1), mine.counted.sum(1))

    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """The policy's, exact: see `Autoregressive.log_likelihood`."""
        return self.shipped().log_likelihood(batch, seeds=seeds)

    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Any = None,
        seeds: Tensor,
    ) -> Samples:
        """The policy's: see `Autoregressive.sample`."""
        return self.shipped().sample(conditions, prefix=prefix, lengths=lengths, controls=controls, seeds=seeds)

    def engine(self, slots: int) -> TokenEngine:
        """The policy's: see `Autoregressive.engine`."""
        return self.shipped().engine(slots)


def _check_reference(reference: Family, policy: Autoregressive) -> None:
    """Refuse a reference that does not speak of the same tokens."""
    if not isinstance(reference, Autoregressive):
        given = type(reference).__name__
    elif reference.layout.outputs != policy.layout.outputs or reference.layout.vocabulary != policy.layout.vocabulary:
        given = f"{reference.layout.vocabulary} tokens with those of conditions, not {policy.layout.vocabulary}"
    else:
        return
    raise Unsupported(
        "the part reference is not a language model over the same tokens",
        given=given,
        cure="start from the same model as the reference, or leave model.parts.reference out",
    )


@contextmanager
def _without_dropout(network: nn.Module) -> Iterator[None]:
    """As when evaluating, and differentiable: cuDNN's recurrent kernels are so in training mode only."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    with evaluating(network), torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext():
        yield
