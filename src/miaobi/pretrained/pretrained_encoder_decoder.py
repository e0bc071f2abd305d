"""A published encoder-decoder of text: T5 (Raffel et al. 2020), BART (Lewis et al. 2020), mBART, Marian and their kind.

The texts that are read stand end to end, each as the tokenizer frames one, in the order of their names. All share the
target's tokenizer. While it writes, every row has its own length and is run together with those of the same length, so
that each position is where the model learnt it to be, however the model counts positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field as Value
from torch import Tensor, nn
from torch.nn import functional as F

from miaobi.errors import Unsupported
from miaobi.networks import NetworkConfig, ReadingNetwork
from miaobi.networks._reading import Source, require_readable
from miaobi.networks._tokens import require_one_vocabulary
from miaobi.pretrained._adapters import Lora, add_lora, shown_name
from miaobi.pretrained._base import Base, Kind, empty_model, model_of, open_base, read_config
from miaobi.pretrained._held import Held
from miaobi.pretrained._writing import WritingCache
from miaobi.types import Field, Form, Size, Spec

_BIAS = "final_logits_bias"
"""What BART's kind adds to logits, which transformers keeps as a buffer."""


class PretrainedEncoderDecoder(Held, ReadingNetwork):
    """See the module; ``source`` and ``target`` are the same token port, and every condition is text like it.

    Whatever stands first in a sequence is read as the model's own beginning, of one token or of several.
    """

    class Config(NetworkConfig):
        """Which model, what of it is trained, and its special tokens."""

        base: str = Value(description="hub:ID@REVISION, or a folder with config.json")
        sha256: str | None = Value(None, description="of its weights; set when a run begins")
        architecture: dict[str, Any] | None = Value(
            None, description="transformers' configuration, where all of the model is trained and the base not needed"
        )
        adapter: Lora | None = Value(None, description="{name: lora}; default: all is trained")
        before: tuple[int, ...] = Value((), description="tokens before a text that is read")
        after: tuple[int, ...] = Value((), description="tokens after it")
        start: tuple[int, ...] = Value((0,), min_length=1, description="tokens that what is written begins after")

    @classmethod
    def preset(cls, size: Size, source: Spec, target: Spec, conditions: dict[str, Spec]) -> Config:
        """There is none: which model, only a recipe can say.

        Raises:
            Unsupported: always.
        """
        raise Unsupported(
            "pretrained_encoder_decoder needs a model to start from", cure="set model.start to a public model's folder"
        )

    def __init__(self, config: Config, source: Spec, target: Spec, conditions: dict[str, Spec]) -> None:
        super().__init__(config, source, target, conditions)
        require_one_vocabulary("pretrained_encoder_decoder", source, target)
        require_readable("pretrained_encoder_decoder", conditions)
        _require_texts(conditions)
        base = None if config.architecture is not None else open_base(config.base, Kind.READING, config.sha256)
        model = _model(config, base)
        words = model.get_output_embeddings()
        _require_room(config, source, conditions, model)
        if base is None:
            trained = dict(model.named_parameters())
        else:
            trained = {} if config.adapter is None else add_lora(model, config.adapter, words.weight)
        self.hold(model, base, {shown_name(name): parameter for name, parameter in trained.items()})
        self.scale = model.config.d_model**-0.5 if _is_scaled(model.config) else 1.0

    @property
    def head(self) -> Tensor:
        """``[V, D + 1]``: the model's rows as far as it has them; a bias stands last."""
        rows = self.inner.get_output_embeddings().weight
        bias = self._bias()
        return (rows if bias is None else torch.cat([rows, bias[:, None]], 1))[: self.source.vocabulary]

    @property
    def limit(self) -> int | None:
        return self.source.max_length or None

    def read(self, conditions: Mapping[str, Field] | None, rows: int) -> Source:
        tokens, real = self._joined(conditions or {}, rows)
        made = self.inner.get_encoder()(input_ids=tokens, attention_mask=real.long()).last_hidden_state
        return Source(made, real, None, torch.full_like(tokens, -1))

    def encode(self, sequence: Tensor, mask: Tensor) -> Tensor:
        """What is read is encoded from tokens, in `read`: there is nothing left to do."""
        return sequence

    def write(self, x: Tensor, read: Source, lengths: Tensor | None, segments: Tensor | None) -> Tensor:
        if segments is not None:
            raise Unsupported("pretrained_encoder_decoder writes one item a row", given="packed rows")
        return self.ready(self.decoder(self.begun(x), read)[:, len(self.config.start) - 1 :])

    def decoder(self, tokens: Tensor, read: Source, past: Any = None) -> Tensor:
        """The decoder's last hidden states ``[B, L, D]`` of ``tokens [B, L]``, which go on from what ``past`` holds."""
        out = self.inner.get_decoder()(
            input_ids=tokens,
            encoder_hidden_states=read.sequence,
            encoder_attention_mask=read.mask.long(),
            past_key_values=past,
            use_cache=past is not None,
        )
        return out.last_hidden_state  # type: ignore[no-any-return]

    def begun(self, x: Tensor) -> Tensor:
        """``x [B, L]`` with the model's own beginning in place of its first token."""
        return torch.cat([x.new_tensor(self.config.start).expand(len(x), -1), x[:, 1:]], 1)

    def ready(self, hidden: Tensor) -> Tensor:
        """Hidden states as `head` takes them."""
        made = hidden * self.scale
        return made if self._bias() is None else F.pad(made, (0, 1), value=1.0)

    def new_cache(self, rows: int, span: int, dtype: torch.dtype | None = None) -> WritingCache:
        return WritingCache.begin(self, rows)

    @torch.no_grad()
    def prefill(self, tokens: Tensor, lengths: Tensor, cache: WritingCache) -> Tensor:
        return F.linear(self.ready(cache.feed(tokens, lengths)), self.head).float()

    def step(self, tokens: Tensor, cache: WritingCache) -> Tensor:
        return self.prefill(tokens[:, None], torch.ones_like(cache.lengths), cache)

    def _bias(self) -> Tensor | None:
        own = getattr(self.inner, _BIAS, None)
        return getattr(self.inner.get_output_embeddings(), "bias", None) if own is None else own[0]

    def _joined(self, conditions: Mapping[str, Field], rows: int) -> tuple[Tensor, Tensor]:
        """Tokens ``[rows, S]`` of all that is read, and what of them is real, which comes first.

        Who is told nothing reads an empty text.
        """
        device = self.inner.get_output_embeddings().weight.device
        before, after = (torch.tensor(part, device=device, dtype=torch.int64).expand(rows, -1) for part in self._around)
        told = [conditions[name] for name in sorted(self.conditions) if name in conditions]
        told = told or [Field(before[:, :0])]
        here = torch.stack([field.is_present() for field in told], 1)
        here[:, 0] |= ~here.any(1)
        values, masks = [], []
        for field, present in zip(told, here.unbind(1), strict=True):
            inside = field.mask() & field.is_present()[:, None]
            values += [before, field.values, after]
            masks += [present[:, None].expand_as(before), inside, present[:, None].expand_as(after)]
        real = torch.cat(masks, 1)
        order = (~real).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(real.sum(1).max())]
        return torch.cat(values, 1).gather(1, order), real.gather(1, order)

    @property
    def _around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What stands around a text; where a tokenizer has nothing, something that an empty text consists of."""
        if self.config.before or self.config.after:
            return self.config.before, self.config.after
        return (), (self.inner.config.pad_token_id or 0,)


def _is_scaled(config: Any) -> bool:
    """Whether hidden states are scaled before they meet embeddings that are shared: T5 and some of its kind."""
    if config.model_type in ("umt5", "switch_transformers"):
        return bool(config.tie_word_embeddings)
    return bool(getattr(config, "scale_decoder_outputs", False))


def longest_of(config: Any) -> int | None:
    """The longest sequence that an encoder-decoder or an encoder takes; relative positions have no end."""
    if hasattr(config, "relative_attention_num_buckets"):
        return None
    said = getattr(config, "max_position_embeddings", None)
    return said if isinstance(said, int) and said > 0 else None


def _model(config: PretrainedEncoderDecoder.Config, base: Base | None) -> Any:
    if base is not None:
        return model_of(base)
    model = empty_model(Kind.READING, read_config(config.architecture or {}))
    model.tie_weights()
    bias = getattr(model, _BIAS, None)
    if bias is not None:
        # As a parameter it is learnt and saved like all else.
        del model.final_logits_bias
        model.final_logits_bias = nn.Parameter(torch.zeros_like(bias))
    return model


def _require_texts(conditions: Mapping[str, Spec]) -> None:
    for name, spec in conditions.items():
        if spec.form is not Form.TOKENS or not spec.shared:
            raise Unsupported(
                f"condition {name!r} is no text with the public model's tokenizer",
                given=f"{spec.form}",
                cure="give it as {modality: text}, which shares the target's",
            )


def _require_room(
    config: PretrainedEncoderDecoder.Config, source: Spec, conditions: Mapping[str, Spec], model: Any
) -> None:
    rows = len(model.get_output_embeddings().weight)
    # Families put a begin token behind a vocabulary that has none; it is fed as `start`, and never written.
    if rows < source.vocabulary - 1:
        raise Unsupported(
            "the tokenizer is not the model's: it has tokens that the model has no row for",
            given=f"{source.vocabulary:,} tokens, {rows:,} rows ({config.base})",
            cure="leave the modality's tokenizer out, which takes the model's own",
        )
    around = len(config.before) + len(config.after)
    read = sum(spec.max_length + around for spec in conditions.values())
    longest, written = longest_of(model.config), source.max_length + len(config.start) - 1
    if longest is not None and max(read, written) > longest:
        raise Unsupported(
            "texts may be longer than what the model was made for",
            given=f"{read} tokens to read, {written} to write",
            allowed=f"{longest}",
            cure="lower modality.max_length: longer items are then cut, and the data report says how many",
        )
