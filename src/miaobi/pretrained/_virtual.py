"""Virtual tokens: what is learnt and stands before every sequence, as embeddings or as keys and values of layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from miaobi.pretrained._foreign import Foreign, ForeignCache


class Virtual(nn.Module, ABC):
    """Base: ``count`` virtual tokens, which start as tokens of the vocabulary, evenly spread over it.

    Args:
        model: a causal model of transformers.
        count: how many.
    """

    def __init__(self, model: Any, count: int) -> None:
        super().__init__()
        self.count = count
        embedding = model.get_input_embeddings().weight
        chosen = torch.linspace(0, len(embedding) - 1, count, device=embedding.device).long()
        self.tokens = self.first(model, embedding[chosen].detach())

    @abstractmethod
    def first(self, model: Any, embedded: Tensor) -> nn.Parameter:
        """What is learnt, made of the embeddings ``[count, D]`` of the tokens that it starts as."""

    @abstractmethod
    def before(self, model: Any, embedded: Tensor) -> tuple[Any, Tensor, int]:
        """For ``embedded [B, L, D]``: a cache to start with or ``None``, what to run, and how much of it to drop."""

    @abstractmethod
    def begin(self, foreign: Foreign, cache: ForeignCache) -> ForeignCache:
        """``cache``, which is empty, with the virtual tokens in it."""


class PromptEmbeddings(Virtual):
    """``tokens [count, D]`` are put before what is embedded (Lester et al. 2021)."""

    def first(self, model: Any, embedded: Tensor) -> nn.Parameter:
        return nn.Parameter(embedded.clone())

    def before(self, model: Any, embedded: Tensor) -> tuple[None, Tensor, int]:
        own = self.tokens.to(embedded.dtype).expand(len(embedded), -1, -1)
        return None, torch.cat([own, embedded], 1), self.count

    @torch.no_grad()
    def begin(self, foreign: Foreign, cache: ForeignCache) -> ForeignCache:
        one = cache.empty(1, 0)
        foreign.extend(self.tokens[None], one.real.new_ones(1, self.count), one)
        return _repeated(one, self.count, len(cache.lengths))


class PrefixStates(Virtual):
    """``tokens [layers, 2, key heads, count, head]`` are keys and values before every layer's own (Li and Liang 2021).

    They start as those of tokens of the vocabulary, which needs no network to make them learnable.
    """

    @torch.no_grad()
    def first(self, model: Any, embedded: Tensor) -> nn.Parameter:
        out = model.base_model(inputs_embeds=embedded[None], use_cache=True).past_key_values
        states = [torch.stack([layer.keys[0], layer.values[0]]) for layer in out.layers]
        return nn.Parameter(torch.stack(states).clone())

    def before(self, model: Any, embedded: Tensor) -> tuple[Any, Tensor, int]:
        from transformers.cache_utils import DynamicCache

        past = DynamicCache()
        for index, (keys, values) in enumerate(self.tokens):
            spread = (part.to(embedded.dtype).expand(len(embedded), -1, -1, -1) for part in (keys, values))
            past.update(*spread, index)
        return past, embedded, 0

    @torch.no_grad()
    def begin(self, foreign: Foreign, cache: ForeignCache) -> ForeignCache:
        one = cache.empty(1, 0)
        one.keys, one.values = ([states[part][None].clone() for states in self.tokens] for part in (0, 1))
        one.real = one.real.new_ones(1, self.count)
        return _repeated(one, self.count, len(cache.lengths))


def _repeated(one: ForeignCache, count: int, rows: int) -> ForeignCache:
    one.virtual = count
    first = one.select(torch.zeros(rows, dtype=torch.int64, device=one.real.device))
    first.start = one
    return first
