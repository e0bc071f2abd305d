"""A model's word vectors taken out of it, so that what it says can be differentiated by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from miaobi.families import Family


@dataclass(frozen=True, slots=True)
class Looked:
    """One look-up of a sequence of tokens: whose table (its name in the family), ``tokens [P]``, ``vectors [P, D]``."""

    table: str
    tokens: Tensor
    vectors: Tensor
    average: Tensor


class Embedded:
    """What a family says of an item, as a function of all its word vectors laid end to end.

    Args:
        family: in eval mode; it looks its words up in ``nn.Embedding`` tables.
        says: what it says ``[rows]`` of ``rows`` copies of the item.

    Attributes:
        looked: the look-ups, in order.
        x: ``[K]`` float32: the item's vectors.
    """

    def __init__(self, family: Family, says: Callable[[int], Tensor]) -> None:
        self.family, self.says = family, says
        self.looked: list[Looked] = []
        with torch.no_grad(), self._hooked(self._keep):
            says(1)
        parts = [one.vectors.flatten() for one in self.looked]
        self.x = torch.cat(parts) if parts else torch.zeros(0)

    def score(self, x: Tensor) -> Tensor:
        """What is said ``[N]`` for vectors ``[N, K]``."""
        sizes = [one.vectors.numel() for one in self.looked]
        parts = iter(x.split(sizes, 1))

        def put(_name: str, _module: nn.Embedding, _tokens: Tensor, out: Tensor) -> Tensor:
            return next(parts).view(out.shape).to(out.dtype)

        with self._hooked(put):
            return self.says(len(x))

    def baseline(self, kept: Callable[[Looked], Tensor]) -> Tensor:
        """``[K]``: the average vector of the table for every word, but for those that are ``kept [P]`` as they are."""
        parts = [torch.where(kept(one)[:, None], one.vectors, one.average) for one in self.looked]
        return torch.cat([part.flatten() for part in parts])

    def by_word(self, values: Tensor) -> list[Tensor]:
        """Numbers ``[..., K]`` summed over each word's vector: ``[..., P]`` a look-up."""
        sizes = [one.vectors.numel() for one in self.looked]
        parts = values.split(sizes, -1)
        return [part.unflatten(-1, one.vectors.shape).sum(-1) for part, one in zip(parts, self.looked, strict=True)]

    def _keep(self, name: str, module: nn.Embedding, tokens: Tensor, out: Tensor) -> None:
        self.looked.append(Looked(name, tokens[0], out[0].float(), module.weight.detach().float().mean(0)))

    @contextmanager
    def _hooked(self, action: Callable[..., Tensor | None]) -> Iterator[None]:
        with ExitStack() as hooks:
            for name, module in self.family.named_modules():
                if isinstance(module, nn.Embedding):
                    hooks.callback(module.register_forward_hook(_of_sequences(name, action)).remove)
            yield


def _of_sequences(name: str, action: Callable[..., Tensor | None]) -> Any:
    """Labels, which are looked up one an item, stay as they are."""

    def hook(module: nn.Embedding, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor | None:
        return action(name, module, inputs[0], out) if inputs[0].ndim == 2 else None

    return hook
