"""Ranking: which of two items is better, learned from pairs.

Burges et al. 2005, "Learning to rank using gradient descent" (RankNet): one network gives each item a score, and the
probability that the first of two is better is the logistic function of the difference. It can start from a masked
language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import UnknownName, Unsupported
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._frame import Frame, token_tables
from miaobi.networks import Network
from miaobi.types import Batch, Field, Form, Loss, Phase, Spec, vector_spec


class Ranker(Family):
    """Scores texts: the target is the better one of a pair, and the condition ``against`` the worse one.

    Other conditions (a query, a reader's history) are what both are judged for; the network's conditioner encodes them.
    A pair whose worse side is absent is left out.
    """

    class Config(FamilyConfig):
        """What a pair is."""

        condition_drop: float = Value(0.0, ge=0, le=1, description="share of pairs left out, and of contexts dropped")
        against: str = Value("worse", description="the condition that is the worse one of the pair")

    tiny = {"against": "title"}
    targets = frozenset({Form.TOKENS})
    roles: ClassVar[dict[str, str]] = {"network": "encoder"}
    network: Network

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        self.frame = Frame(target.vocabulary)
        self.others = _others(config.against, conditions)

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        """Framed tokens and what they are judged for in, a score out."""
        others = _others(config.against, conditions)
        return {"network": Ports(Frame(target.vocabulary).port(target), vector_spec(1), others, inputs=("real",))}

    @classmethod
    def metric(cls, form: Form) -> str:
        return "ranking"

    def phases(self) -> list[Phase]:
        return [Phase("train", ("network",))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        margins, here = self._margins(self.drop_conditions(batch, seeds))
        right = ((margins > 0) & here).sum().detach()
        return Loss((F.softplus(-margins) * here).sum(), here.sum().float(), {"accuracy": right})

    def token_tables(self) -> dict[str, str]:
        """See `Spelling`."""
        return token_tables("target", self.others)

    @torch.no_grad()
    def margins(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """How far each target is above its worse one, ``[B]`` float32, and whether it has one, ``[B]`` bool."""
        return self._margins(batch)

    @torch.no_grad()
    def score(self, items: Field, conditions: Mapping[str, Field]) -> Tensor:
        """``[B]`` float32, the higher the better; scores compare among items that are judged for the same."""
        return self._score(items, conditions)

    def _margins(self, batch: Batch) -> tuple[Tensor, Tensor]:
        worse = batch.conditions.get(self.config.against)
        if worse is None:
            return self._score(batch.target, batch.conditions), torch.zeros(len(batch)).bool().to(self.device)
        # Both sides in one call, under the same contexts.
        both = _stacked(batch.target, worse)
        contexts = {
            name: batch.conditions[name].map(lambda tensor: torch.cat([tensor, tensor]))
            for name in self.others
            if name in batch.conditions
        }
        better, lesser = self._score(both, contexts).chunk(2)
        return better - lesser, worse.is_present()

    def _score(self, items: Field, conditions: Mapping[str, Field]) -> Tensor:
        tokens, real = self.frame(items)
        told = {name: conditions[name] for name in self.others if name in conditions}
        return self.network(tokens, told, real=real)[:, 0].float()  # type: ignore[no-any-return]


def _others(against: str, conditions: Mapping[str, Spec]) -> dict[str, Spec]:
    """The conditions but for the worse side.

    Raises:
        UnknownName: there is no such condition.
        Unsupported: its tokens are not the target's.
    """
    if against not in conditions:
        raise UnknownName(
            "condition in model.options.against", against, conditions, cure="name the column of the worse text"
        )
    if not conditions[against].shared:
        raise Unsupported(
            "both sides of a pair are read by one network",
            given=f"the condition {against} with tokens of its own",
            cure="give it the target's modality, without options",
        )
    return {name: spec for name, spec in conditions.items() if name != against}


def _stacked(first: Field, second: Field) -> Field:
    """The rows of one field, then the other's, padded to the longer."""
    longest = max(first.values.shape[1], second.values.shape[1])
    values = [F.pad(one.values, (0, longest - one.values.shape[1])) for one in (first, second)]
    lengths = [(one.mask() & one.is_present()[:, None]).sum(1) for one in (first, second)]
    return Field(torch.cat(values), lengths=torch.cat(lengths))
