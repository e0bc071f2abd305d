"""A causal model of transformers as miaobi decodes and trains it: packed rows, ragged caches, virtual tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from miaobi.networks import embed_tokens
from miaobi.networks._attention import same_segment
from miaobi.pretrained._virtual import Virtual


class Foreign(nn.Module):
    """Hidden states, logits and steps of a model of transformers.

    Args:
        model: a causal model with its head.
        virtual: what stands before every sequence; ``None``: nothing.
    """

    def __init__(self, model: Any, virtual: Virtual | None = None) -> None:
        super().__init__()
        self.model = model
        self.virtual = virtual
        self.plain = _is_plain(model)

    @property
    def head(self) -> Tensor:
        """``[V, D]``."""
        return self.model.get_output_embeddings().weight  # type: ignore[no-any-return]

    def hidden(self, x: Tensor, segments: Tensor | None = None) -> Tensor:
        """``[B, L, D]`` of tokens ``[B, L]`` or probabilities ``[B, L, V]``; with ``segments [B, L]``, packed rows."""
        mask, positions = (None, None) if segments is None else _packed(segments)
        past, embedded, skip = None, self.embed(x), 0
        if self.virtual is not None:
            past, embedded, skip = self.virtual.before(self.model, embedded)
            start = 0 if past is None else self.virtual.count
            positions = (start + torch.arange(embedded.shape[1], device=x.device))[None]
        out = self._run(embedded, mask, positions, past)
        return out[:, skip:]

    def logits(self, hidden: Tensor) -> Tensor:
        """``[..., V]`` of `hidden`, with all that the model does to them."""
        return _logits(self.model, hidden)

    def embed(self, x: Tensor) -> Tensor:
        """``[B, L, D]`` of tokens or probabilities."""
        return embed_tokens(self.model.get_input_embeddings(), x)

    def new_cache(self, rows: int) -> ForeignCache:
        """With the virtual tokens, where there are any, in it already."""
        empty = ForeignCache([], [], self.head.new_zeros(rows, 0, dtype=torch.bool), self._zeros(rows), 0)
        return empty if self.virtual is None else self.virtual.begin(self, empty)

    @torch.no_grad()
    def prefill(self, tokens: Tensor, lengths: Tensor, cache: ForeignCache) -> Tensor:
        """See `TokenNetwork.prefill`."""
        width = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.extend(self.embed(tokens), width < lengths[:, None], cache)
        last = hidden[torch.arange(len(hidden), device=hidden.device), lengths - 1]
        cache.lengths = cache.lengths + lengths
        return self.logits(last).float()

    @torch.no_grad()
    def step(self, tokens: Tensor, cache: ForeignCache) -> Tensor:
        """See `TokenNetwork.step`."""
        return self.prefill(tokens[:, None], torch.ones_like(cache.lengths), cache)

    def extend(self, embedded: Tensor, real: Tensor, cache: ForeignCache) -> Tensor:
        """Run ``embedded [B, L, D]``, of which ``real [B, L]`` counts, after what ``cache`` holds, and keep it."""
        before = cache.real.shape[1]
        cache.real = torch.cat([cache.real, real], 1)
        length = real.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
        seen = cache.real[:, None, :].expand(-1, length, -1).clone()
        seen[:, :, before:] &= causal
        # A position that is none sees itself, so that its softmax is one.
        seen[:, :, before:] |= torch.eye(length, dtype=torch.bool, device=real.device)
        positions = cache.virtual + cache.lengths[:, None] + (real.long().cumsum(1) - 1).clamp(min=0)
        past = cache.past()
        hidden = self._run(embedded, _additive(seen[:, None], embedded.dtype), positions, past)
        cache.keys = [layer.keys for layer in past.layers]
        cache.values = [layer.values for layer in past.layers]
        return hidden

    def _run(self, embedded: Tensor, mask: Tensor | None, positions: Tensor | None, past: Any) -> Tensor:
        out = self.model.base_model(
            inputs_embeds=embedded,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=past,
            use_cache=past is not None,
        )
        return out.last_hidden_state  # type: ignore[no-any-return]

    def _zeros(self, rows: int) -> Tensor:
        return torch.zeros(rows, dtype=torch.int64, device=self.head.device)


@dataclass
class ForeignCache:
    """Keys and values ``[rows, heads, slots, D]`` a layer; a row's real slots are those of ``real [rows, slots]``.

    Rows of different lengths stand in slots of their own, and nobody sees the others' filling.
    """

    keys: list[Tensor]
    values: list[Tensor]
    real: Tensor
    lengths: Tensor
    virtual: int = 0
    start: ForeignCache | None = None
    """One row that was fed nothing but the virtual tokens."""

    def past(self) -> Any:
        """Transformers' cache over the same tensors."""
        from transformers.cache_utils import DynamicCache

        past = DynamicCache()
        for index, (keys, values) in enumerate(zip(self.keys, self.values, strict=True)):
            past.update(keys, values, index)
        return past

    def select(self, rows: Tensor) -> Self:
        kept = self.real[rows]
        slots = kept.any(0).nonzero()[:, 0]
        keys, values = ([part[rows][:, :, slots] for part in parts] for parts in (self.keys, self.values))
        return type(self)(keys, values, kept[:, slots], self.lengths[rows], self.virtual, self.start)

    def join(self, other: Self) -> Self:
        slots = max(self.real.shape[1], other.real.shape[1])
        keys, values = (
            [torch.cat([_widened(one, slots, 2), _widened(two, slots, 2)]) for one, two in zip(mine, its, strict=True)]
            for mine, its in ((self.keys, other.keys), (self.values, other.values))
        )
        real = torch.cat([_widened(self.real, slots, 1), _widened(other.real, slots, 1)])
        return type(self)(keys, values, real, torch.cat([self.lengths, other.lengths]), self.virtual, self.start)

    def empty(self, rows: int, span: int) -> ForeignCache:
        if self.start is not None:
            return self.start.select(torch.zeros(rows, dtype=torch.int64, device=self.real.device))
        return ForeignCache([], [], self.real.new_zeros(rows, 0), self.lengths.new_zeros(rows), self.virtual)


def _logits(model: Any, hidden: Tensor) -> Tensor:
    """What ``model`` makes of its own last hidden states."""
    config = model.config.get_text_config()
    scale = getattr(config, "logits_scaling", None)
    made = model.get_output_embeddings()(hidden)
    if scale:
        made = made / scale
    factor = getattr(config, "logit_scale", None)
    if factor:
        made = made * factor
    cap = getattr(config, "final_logit_softcapping", None)
    return torch.tanh(made / cap) * cap if cap else made


def _is_plain(model: Any) -> bool:
    """Whether logits are hidden states times one matrix."""
    head = model.get_output_embeddings()
    config = model.config.get_text_config()
    others = ("logits_scaling", "logit_scale", "final_logit_softcapping")
    return getattr(head, "bias", None) is None and not any(getattr(config, name, None) for name in others)


def _packed(segments: Tensor) -> tuple[Tensor, Tensor]:
    """An additive mask ``[B, 1, L, L]`` and positions ``[B, L]`` for packed rows."""
    starts = torch.ones_like(segments, dtype=torch.bool)
    starts[:, 1:] = segments[:, 1:] != segments[:, :-1]
    index = torch.arange(segments.shape[1], device=segments.device).expand_as(segments)
    first = torch.where(starts, index, 0).cummax(1).values
    return _additive(same_segment(segments)[:, None], torch.float32), index - first


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, torch.finfo(dtype).min)


def _widened(part: Tensor, slots: int, axis: int) -> Tensor:
    """``part`` with unused slots behind its own."""
    missing = slots - part.shape[axis]
    if not missing:
        return part
    shape = list(part.shape)
    shape[axis] = missing
    return torch.cat([part, part.new_zeros(shape)], axis)
