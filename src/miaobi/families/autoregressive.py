"""Language models: the probability of a sequence as the product of each token's given those before it.

Shannon 1948; with networks, Bengio et al. 2003, "A neural probabilistic language model". Trained by maximum likelihood,
sampled token by token through the one decoding engine; any `TokenNetwork` serves (Transformer, LSTM, GRU, ...).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field as Value
from torch import Tensor

from miaobi.errors import Unsupported
from miaobi.families import _base
from miaobi.families._base import Family, FamilyConfig, Ports
from miaobi.families._cross_entropy import head_loss, token_nats
from miaobi.families._given import held
from miaobi.families._guidance import require_guidable
from miaobi.families._layout import Layout
from miaobi.families._packing import pack
from miaobi.families._template import Template, Templated
from miaobi.families._token_requests import PREFIXES, TokenEngine, complete, gather, make_requests
from miaobi.networks import Network, TokenNetwork
from miaobi.sampling.beam import BeamControls
from miaobi.sampling.decoding import Engine, Request
from miaobi.types import Batch, Bound, Field, Form, Loss, Phase, Samples, Spec


@dataclass(frozen=True, slots=True)
class Scored:
    """What a network says of targets, among the tokens that can be drawn.

    Attributes:
        nats: ``[B]``, the negative log-likelihood of each item.
        counted: ``[B, L]`` bool: where a token of the target is predicted; ``N`` of them.
        says: ``[N, D]``, what ``head`` turns into logits; without one, logits ``[N, V]``.
        head: ``[V, D]``.
    """

    nats: Tensor
    counted: Tensor
    says: Tensor
    head: Tensor | None

    def bound(self) -> Bound:
        """The likelihood, which is exact."""
        return Bound(self.nats, exact=True, predicted=self.counted.sum(1))


class Autoregressive(Family):
    """One network over one sequence: conditions as a prefix, then the target (see `Layout`).

    The loss is summed over predicted tokens, the end token included, and divided by their number.
    """

    class Config(FamilyConfig):
        """Options of the objective."""

        label_smoothing: float = Value(0.0, ge=0, lt=1, description="share of the target spread over the vocabulary")
        packing: bool = Value(False, description="learn several short items in a row: less padding, the same loss")
        template: Template | None = Value(
            None, description="words around the conditions, as tokens; made from model.prompt"
        )

    class Controls(BeamControls, _base.Controls):
        """How tokens are drawn or searched for."""

    targets = frozenset({Form.TOKENS})
    roles: ClassVar[dict[str, str]] = {"network": "transformer"}
    network: TokenNetwork

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        super().__init__(config, networks, parts, target, conditions)
        if not isinstance(self.network, TokenNetwork):
            raise Unsupported(
                "autoregressive needs a network over tokens",
                given=type(self.network).__name__,
                cure="choose transformer, lstm, gru, rnn or causal_convolutional",
            )
        self.layout = self.lay_out(config, target, conditions)

    @classmethod
    def ports(cls, config: Config, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        port = cls.lay_out(config, target, conditions).port
        return {"network": Ports(port, port, {})}

    @classmethod
    def lay_out(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> Layout:
        """What is one sequence: conditions too, here."""
        if config.template is not None:
            return Templated(target, conditions, config.template)
        return Layout(target, conditions)

    @classmethod
    def metric(cls, form: Form) -> str:
        return "likelihood"

    def phases(self) -> list[Phase]:
        return [Phase("train", ("network",))]

    def forward(self, batch: Batch, phase: str, seeds: Tensor) -> Loss:
        return self._loss(*self._predictions(self.drop_conditions(batch, seeds), packing=self.config.packing))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch, *, seeds: Tensor) -> Bound:
        """Exact, without dropout, over what can be drawn: the target's tokens and the end; ``seeds`` are not needed."""
        with evaluating(self.network):
            return self.scored(batch).bound()

    def distributions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Of every predicted token, the end among them."""
        hidden, _, weight = self._predictions(batch)
        counted = weight > 0
        logits = hidden[counted] if self._head is None else F.linear(hidden[counted], self._head)
        return logits.float().log_softmax(-1), weight[counted]

    def scored(self, batch: Batch) -> Scored:
        """What the network says of a batch's targets, in the mode that it is in; differentiable."""
        return self._scored(*self._predictions(batch))

    def _scored(self, hidden: Tensor, targets: Tensor, weight: Tensor) -> Scored:
        """`scored` of `_predictions`."""
        counted, drawn, head = weight > 0, self.layout.outputs.size, self._head
        says = hidden[counted]
        says, head = (says[:, :drawn], None) if head is None else (says, head[:drawn])
        nats = torch.zeros_like(weight)
        nats[counted] = token_nats(says, head, targets[counted], self.layout.outputs.banned)
        return Scored((nats * weight).sum(1), counted, says, head)

    def sample(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        lengths: Tensor | None = None,
        controls: Controls | None = None,
        seeds: Tensor,
    ) -> Samples:
        """Items with their prefix, without begin and end; ``log_probs`` are of what was drawn, before any control."""
        with evaluating(self.network):
            requests = self.requests(conditions, prefix, lengths, controls or self.Controls(), seeds)
            drawn = complete(self.network, self.layout.outputs, requests, self.precision, self.compiling)
        return gather(self.layout, requests, drawn, self.device)

    def engine(self, slots: int) -> TokenEngine:
        """The decoding engine, for streaming and serving."""
        self.eval()
        engine = Engine(
            self.network,
            self.layout.outputs,
            slots=slots,
            dtype=self.precision,
            prefixes=PREFIXES,
            compiling=self.compiling,
        )
        return TokenEngine(self.layout, engine, self.tokenizer, self.requests)

    def stream(
        self,
        conditions: dict[str, Field],
        *,
        prefix: Field | None = None,
        controls: Controls | None = None,
        seed: int,
    ) -> Iterator[str]:
        """The text of one item as it is drawn, without its prefix; see `TokenEngine.stream`."""
        return self.engine(1).stream(conditions, prefix=prefix, controls=controls or self.Controls(), seed=seed)

    def requests(
        self,
        conditions: Mapping[str, Field],
        prefix: Field | None,
        lengths: Tensor | None,
        controls: Controls,
        seeds: Tensor,
    ) -> list[Request]:
        """What the engine is asked for, one request a seed."""
        require_guidable(self.conditions, self.config.condition_drop, controls.guidance)
        requests = make_requests(self.layout, conditions, prefix, lengths, controls, seeds, self.tokenizer, self.rules)
        return held(requests, conditions, self.conditions, self.layout.outputs)

    @property
    def _head(self) -> Tensor | None:
        """What turns `_predictions` into logits; ``None``: they are logits themselves."""
        return self.network.head if self.network.plain_head else None

    def _predictions(self, batch: Batch, packing: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """What `_head` reads ``[B, L, D]``, the tokens that they predict ``[B, L]``, and their weights ``[B, L]``.

        With ``packing``, several items share a row.
        """
        if batch.target.segments is not None:
            raise Unsupported("autoregressive packs items itself", given="packed rows", cure="set options.packing")
        return self._read(*self.layout.sequence(batch), packing=packing)

    def _read(self, tokens: Tensor, weight: Tensor, packing: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """`_predictions` of sequences."""
        logits = not self.network.plain_head
        if not packing:
            return self.network(tokens[:, :-1], logits=logits), tokens[:, 1:], weight[:, 1:]
        packed = pack(tokens, weight)
        made = self.network(packed.inputs, segments=packed.segments, logits=logits)
        return made, packed.targets, packed.weight

    def _loss(self, hidden: Tensor, targets: Tensor, weight: Tensor) -> Loss:
        counted = weight > 0
        total, nats = head_loss(
            hidden[counted], self._head, targets[counted], weight[counted], self.config.label_smoothing
        )
        return Loss(total, weight.sum(), {"nats": nats})


@contextmanager
def evaluating(network: torch.nn.Module) -> Iterator[None]:
    """Without dropout, and as it was afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
