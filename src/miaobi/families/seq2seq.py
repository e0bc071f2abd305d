"""Sequence to sequence: the target's tokens given conditions that the network encodes apart from it.

Sutskever et al. 2014, "Sequence to sequence learning with neural networks"; with attention, Bahdanau et al. 2015,
"Neural machine translation by jointly learning to align and translate". Teacher-forced maximum likelihood, with label
smoothing (Szegedy et al. 2016, "Rethinking the Inception architecture") where it is asked for; translation, summaries,
captions and recognised speech are this family with other conditions. Any `ReadingNetwork` serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from miaobi.errors import UnknownName, Unsupported
from miaobi.families import autoregressive
from miaobi.families._base import Family, Ports
from miaobi.families._given import held
from miaobi.families._guidance import require_guidable
from miaobi.families._layout import Layout
from miaobi.families._token_requests import make_requests
from miaobi.networks import Network, ReadingNetwork
from miaobi.networks._reading import Source
from miaobi.sampling.decoding import Request
from miaobi.types import Batch, Field, Form, Spec


class Seq2Seq(autoregressive.Autoregressive):
    """`Autoregressive` over the target alone; conditions, tokens or a tensor among them, enter through the network.

    Items are drawn, or searched for with the control ``beams``. Guidance goes from what the network writes when it
    reads nothing to what it writes when it reads the conditions. A condition that is the target in part
    (`Spec.partial`) comes back as it is, and the item is as long as it.
    """

    class Config(autoregressive.Autoregressive.Config):
        """Options of the objective."""

    class Controls(autoregressive.Autoregressive.Controls):
        """How tokens are drawn or searched for."""

    roles = {"network": "encoder_decoder"}
    network: ReadingNetwork

    def __init__(
        self,
        config: Config,
        networks: Mapping[str, Network],
        parts: Mapping[str, Family],
        target: Spec,
        conditions: Mapping[str, Spec],
    ) -> None:
        if not isinstance(networks["network"], ReadingNetwork):
            raise Unsupported(
                "seq2seq needs a network that encodes conditions and writes tokens",
                given=type(networks["network"]).__name__,
                cure="choose encoder_decoder or attentive_recurrent, or the family autoregressive",
            )
        super().__init__(config, networks, parts, target, conditions)

    @classmethod
    def ports(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> dict[str, Ports]:
        port = cls.lay_out(config, target, conditions).port
        return {"network": Ports(port, port, dict(conditions))}

    @classmethod
    def lay_out(cls, config: Any, target: Spec, conditions: Mapping[str, Spec]) -> Layout:
        """The target alone.

        Raises:
            Unsupported: nothing to read, or a target that is one long text.
        """
        if not any(spec.form in (Form.TOKENS, Form.TENSOR) for spec in conditions.values()):
            raise Unsupported(
                "seq2seq writes from something that it reads: tokens or a tensor",
                given={name: str(spec.form) for name, spec in conditions.items()} or "no condition",
                cure="add such a condition under data.condition, or choose autoregressive",
            )
        if config.packing or config.template is not None:
            raise Unsupported(
                "seq2seq reads its conditions apart, an item a row",
                given="packing or a template",
                cure="leave them out, or choose autoregressive",
            )
        if target.stream:
            raise Unsupported(
                "seq2seq writes items from their conditions, and a stream has none",
                cure="choose autoregressive, or give items with conditions",
            )
        return Layout(target, {})

    def requests(
        self,
        conditions: Mapping[str, Field],
        prefix: Field | None,
        lengths: Tensor | None,
        controls: Any,
        seeds: Tensor,
    ) -> list[Request]:
        require_guidable(self.conditions, self.config.condition_drop, controls.guidance)
        requests = make_requests(self.layout, {}, prefix, lengths, controls, seeds, self.tokenizer, self.rules)
        requests = held(requests, conditions, self.conditions, self.layout.outputs)
        sources = self._sources(conditions, len(seeds))
        if controls.guidance == 1:
            return [replace(one, source=source) for one, source in zip(requests, sources, strict=True)]
        (free,) = self._sources({}, 1)
        return [
            replace(one, source=source, free=one.tokens, free_source=free)
            for one, source in zip(requests, sources, strict=True)
        ]

    @property
    def _head(self) -> Tensor | None:
        return None if self.network.pointer is not None else super()._head

    def _sources(self, conditions: Mapping[str, Field], rows: int) -> list[Source]:
        for name in conditions:
            if name not in self.conditions:
                cure = "use the conditions that the model was trained with"
                raise UnknownName("condition", name, self.conditions, cure=cure)
        return self.network.sources({name: field.to(self.device) for name, field in conditions.items()}, rows)

    def _predictions(self, batch: Batch, packing: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        if batch.target.segments is not None:
            raise Unsupported("seq2seq takes one item a row", given="packed rows")
        tokens, weight = self.layout.sequence(replace(batch, conditions={}))
        made = self.network(tokens[:, :-1], batch.conditions, logits=self._head is None)
        return made, tokens[:, 1:], weight[:, 1:]
