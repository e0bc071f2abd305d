"""A published causal language model of any architecture that transformers has, whole or with an adapter.

What is trained is the model itself or, with an adapter, that alone: the published weights are then neither copied into
checkpoints nor into the model folder, which refers to them by revision and checksum.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.networks import NetworkConfig, TokenNetwork
from miaobi.networks._tokens import require_token_ports
from miaobi.networks.transformer import Transformer
from miaobi.pretrained._adapters import Adapter, Lora, PromptTokens, add_lora, merged, shown_name
from miaobi.pretrained._base import Base, Kind, empty_model, model_of, open_base, read_config
from miaobi.pretrained._foreign import Foreign
from miaobi.pretrained._held import Held
from miaobi.pretrained._native import shape_of, weights_of
from miaobi.pretrained._virtual import PrefixStates, PromptEmbeddings
from miaobi.types import Field, Size, Spec


class PretrainedDecoder(Held, TokenNetwork):
    """See the module; ``source`` and ``target`` are the same token port, of the model's own vocabulary."""

    class Config(NetworkConfig):
        """Which model, and what of it is trained."""

        base: str = Value(description="starter:NAME, hub:ID@REVISION, a folder with config.json, or a .gguf file")
        sha256: str | None = Value(None, description="of its weights; set when a run begins")
        architecture: dict[str, Any] | None = Value(
            None, description="transformers' configuration, where all of the model is trained and the base not needed"
        )
        adapter: Adapter | None = Value(None, description="{name: lora, prompt or prefix}; default: all is trained")

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """There is none: which model, only a recipe can say.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            "pretrained_decoder needs a model to start from", cure="set model.start, e.g. starter:smollm2"
        )

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        require_token_ports("pretrained_decoder", source, target, conditions)
        whole = config.architecture is not None
        base = None if whole else open_base(config.base, Kind.CAUSAL, config.sha256)
        inner, trained = _whole(config) if base is None else _adapted(base, config, source)
        self.hold(inner, base, {shown_name(name): parameter for name, parameter in trained.items()})
        _require_vocabulary(self.head, source, config.base)

    @property
    def head(self) -> Tensor:
        return self.inner.head[: self.source.vocabulary]

    @property
    def plain_head(self) -> bool:
        """See `TokenNetwork`."""
        return isinstance(self.inner, Transformer) or self.inner.plain

    @property
    def limit(self) -> int | None:
        return self.source.max_length or None

    def hidden(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        lengths: Tensor | None = None,
        segments: Tensor | None = None,
    ) -> Tensor:
        if isinstance(self.inner, Transformer):
            return self.inner.hidden(x, None, lengths, segments)
        if segments is not None and self.inner.virtual is not None:
            raise Unsupported(
                "packed rows have no place for virtual tokens before each item",
                given="packing with the adapter prompt or prefix",
                cure="set model.options.packing: false, or use the adapter lora",
            )
        return self.inner.hidden(x, segments)

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
        hidden = self.hidden(x, conditions, lengths, segments)
        if not logits:
            return hidden
        if isinstance(self.inner, Transformer):
            return nn.functional.linear(hidden, self.head)
        return self.inner.logits(hidden)[..., : self.source.vocabulary]

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> Any:
        if isinstance(self.inner, Foreign):
            return self.inner.new_cache(rows)
        if not isinstance(self.config.adapter, Lora):
            return self.inner.new_cache(rows, span, dtype)
        with merged(self.inner):
            return self.inner.new_cache(rows, span, dtype)

    def prefill(self, tokens: Tensor, lengths: Tensor, cache: Any) -> Tensor:
        return self.inner.prefill(tokens, lengths, cache)[:, : self.source.vocabulary]

    def step(self, tokens: Tensor, cache: Any) -> Tensor:
        return self.inner.step(tokens, cache)[:, : self.source.vocabulary]


def _whole(config: PretrainedDecoder.Config) -> tuple[Foreign, dict[str, nn.Parameter]]:
    """All of a model of transformers, whose weights come from elsewhere."""
    model = empty_model(Kind.CAUSAL, read_config(config.architecture or {}))
    model.tie_weights()
    return Foreign(model), dict(model.named_parameters())


def _adapted(
    base: Base, config: PretrainedDecoder.Config, port: Spec
) -> tuple[Transformer | Foreign, dict[str, nn.Parameter]]:
    """A published model and what is trained of it."""
    adapter, shape = config.adapter, shape_of(base.config)
    if shape is not None and isinstance(adapter, Lora | None):
        inner = native(base, shape, port)
        return inner, {} if adapter is None else add_lora(inner, adapter, inner.head)
    model = model_of(base)
    if adapter is None:
        return Foreign(model), {}
    if isinstance(adapter, Lora):
        return Foreign(model), add_lora(model, adapter, model.get_output_embeddings().weight)
    kind = PromptEmbeddings if isinstance(adapter, PromptTokens) else PrefixStates
    virtual = kind(model, adapter.tokens)
    return Foreign(model, virtual), {"virtual.tokens": virtual.tokens}


def native(base: Base, shape: dict[str, Any], port: Spec) -> Transformer:
    """The Transformer over the base's own tensors, frozen."""
    own = replace(port, vocabulary=base.config.vocab_size)
    with torch.device("meta"):
        network = Transformer(Transformer.Config(**shape), own, own, {})
    network.load_state_dict(weights_of(base.tensors), strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _require_vocabulary(head: Tensor, port: Spec, base: str) -> None:
    if len(head) < port.vocabulary:
        raise Unsupported(
            "the tokenizer is not the model's: it has tokens that the model has no row for",
            given=f"{port.vocabulary:,} tokens, {len(head):,} rows ({base})",
            cure="leave the modality's tokenizer out, which takes the model's own",
        )
