"""A published encoder of text: BERT (Devlin et al. 2019) and its kind, or a causal language model that only reads.

Its tokens become a distribution at every position, by the head that it was published with (or, where it was published
without one, its own embeddings), or one vector through a fresh head, as the network ``encoder`` has it. A model whose
positions see both sides is read by the mean over what is real, special tokens included; one that is causal by its last
real position, which alone has seen all of the text (as transformers' ...ForSequenceClassification reads it).
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor, nn
from torch.nn import functional as F

from miaobi.errors import Unsupported
from miaobi.networks import Network, NetworkConfig
from miaobi.networks._heads import Head
from miaobi.networks.encoder import mean
from miaobi.pretrained._adapters import Lora, add_lora, shown_name
from miaobi.pretrained._base import Base, Kind, empty_model, is_causal, model_of, open_base, read_config
from miaobi.pretrained._framed import framed
from miaobi.pretrained._held import Held
from miaobi.types import Field, Form, Size, Spec

_FRAME = 3
"""Mask, start and end, which families put behind the vocabulary."""


class PretrainedEncoder(Held, Network):
    """See the module; ``source`` is framed tokens, and there are no conditions."""

    class Config(NetworkConfig):
        """Which model, what of it is trained, and its special tokens."""

        base: str = Value(description="starter:NAME, hub:ID@REVISION, or a folder with config.json")
        kind: Kind = Value(Kind.ENCODING, description="whether it has a head that fills in masked tokens")
        sha256: str | None = Value(None, description="of its weights; set when a run begins")
        architecture: dict[str, Any] | None = Value(
            None, description="transformers' configuration, where all of the model is trained and the base not needed"
        )
        adapter: Lora | None = Value(None, description="{name: lora}; default: all is trained")
        before: tuple[int, ...] = Value((), description="tokens before a text")
        after: tuple[int, ...] = Value((), description="tokens after a text")
        mask: int | None = Value(None, ge=0, description="the token for what is not shown")

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """There is none: which model, only a recipe can say.

        Raises:
            Unsupported: always.
        """
        raise Unsupported("pretrained_encoder needs a model to start from", cure="set model.start, e.g. starter:minilm")

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        _check(config, source, target, conditions)
        base = None if config.architecture is not None else open_base(config.base, config.kind, config.sha256)
        model = _model(config, base)
        self.causal = is_causal(model.config)
        table, head = model.get_input_embeddings(), model.get_output_embeddings()
        self.rows = len(table.weight)
        _require_room(self, config, source, model)
        trained = _trained(config, model, table if head is None else head)
        self.hold(model, base, {shown_name(name): parameter for name, parameter in trained.items()})
        self._words = (table if head is None else head,)
        if head is not None:
            _leave_out(model, head)
        self.output = Head(table.weight.shape[1], target.size) if target.form is Form.TENSOR else None

    @property
    def head(self) -> Tensor:
        """``[V, D + 1]``: of every token of the vocabulary and of mask, start and end; a bias stands last."""
        words = self._words[0]
        bias = getattr(words, "bias", None)
        rows = words.weight if bias is None else torch.cat([words.weight, bias[:, None]], 1)
        own = (self.config.mask or 0, *(self.config.before[-1:] or (0,)), *(self.config.after[:1] or (0,)))
        return torch.cat([rows[: self.source.vocabulary - _FRAME], rows[list(own)]])

    def hidden(self, x: Tensor, conditions: dict[str, Field] | None = None, real: Tensor | None = None) -> Tensor:
        """What the heads read, ``[B, L, D]``; with a head that has a bias, a one stands behind."""
        made, _, places = self._run(x, real)
        made = made.gather(1, places[..., None].expand(-1, -1, made.shape[2]))
        if self.output is None and getattr(self._words[0], "bias", None) is not None:
            return F.pad(made, (0, 1), value=1.0)
        return made

    def forward(
        self,
        x: Tensor,
        conditions: dict[str, Field] | None = None,
        *,
        real: Tensor | None = None,
        logits: bool = True,
        **inputs: Any,
    ) -> Tensor:
        """``x [B, L]`` int64 to the target; with ``logits=False`` to `hidden`."""
        if not logits:
            return self.hidden(x, conditions, real)
        if self.output is None:
            return F.linear(self.hidden(x, conditions, real), self.head)
        made, mask, _ = self._run(x, real)
        return self.output(_last(made, mask) if self.causal else mean(made, mask))  # type: ignore[no-any-return]

    def _run(self, x: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """``[B, S, D]`` of the model's own sequence, which of it is real, and where ``x``'s positions stand in it."""
        real = torch.ones_like(x, dtype=torch.bool) if real is None else real
        config, padding = self.config, self.inner.config.pad_token_id or 0
        mask = (self.source.vocabulary - _FRAME, padding if config.mask is None else config.mask)
        read = framed(x, real, config.before, config.after, mask, padding)
        out = self.inner(input_ids=read.tokens, attention_mask=read.real.long())
        return out.logits if config.kind is Kind.MASKED else out.last_hidden_state, read.real, read.places


def _last(hidden: Tensor, real: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=hidden.device), real.sum(1) - 1]


def _model(config: PretrainedEncoder.Config, base: Base | None) -> Any:
    if base is None:
        model = empty_model(config.kind, read_config(config.architecture or {}))
        model.tie_weights()
    else:
        model = model_of(base)
    if getattr(model, "pooler", None) is not None:
        # Of the first position alone, and for another task than any here.
        model.pooler = None
    return model


def _trained(config: PretrainedEncoder.Config, model: Any, words: nn.Module) -> dict[str, nn.Parameter]:
    if config.architecture is not None:
        return dict(model.named_parameters())
    return {} if config.adapter is None else add_lora(model, config.adapter, words.weight)  # type: ignore[arg-type]


def _leave_out(model: nn.Module, head: nn.Module) -> None:
    """Let ``model`` give what it would give to ``head``: a batch's logits at every position are more than is used."""
    name = next(name for name, part in model.named_modules() if part is head)
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, nn.Identity())


def _check(config: PretrainedEncoder.Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
    if conditions:
        raise Unsupported(
            "pretrained_encoder reads one text",
            given=f"conditions {sorted(conditions)} beside it",
            cure="leave them out, or write them into the text",
        )
    if source.form is not Form.TOKENS or target.space or target.form is Form.LABEL:
        raise Unsupported(
            "pretrained_encoder makes tokens or one vector of tokens", given=f"{source.form} to {target.form}"
        )
    if target.form is Form.TOKENS and config.mask is None:
        raise Unsupported(
            "the public model has no mask token",
            given=config.base,
            cure="choose a model of BERT's kind, or the family autoregressive",
        )


def _require_room(network: PretrainedEncoder, config: PretrainedEncoder.Config, source: Spec, model: Any) -> None:
    if network.rows < source.vocabulary - _FRAME:
        raise Unsupported(
            "the tokenizer is not the model's: it has tokens that the model has no row for",
            given=f"{source.vocabulary - _FRAME:,} tokens, {network.rows:,} rows ({config.base})",
            cure="leave the modality's tokenizer out, which takes the model's own",
        )
    context = _context(model)
    longest = source.max_length - 2 + len(config.before) + len(config.after)
    if context is not None and longest > context:
        raise Unsupported(
            "texts may be longer than what the model was made for",
            given=f"{longest} tokens",
            allowed=f"{context}",
            cure="lower the text's modality.max_length: longer ones are then cut, and the data report says how many",
        )


def _context(model: Any) -> int | None:
    """The longest sequence; models like RoBERTa count positions from behind their padding's."""
    said = getattr(model.config, "max_position_embeddings", None)
    tables = (part for name, part in model.named_modules() if name.endswith("position_embeddings"))
    skipped = [part.padding_idx + 1 for part in tables if getattr(part, "padding_idx", None) is not None]
    return None if said is None or said < 1 else said - max(skipped, default=0)
