"""Examples that a prompt shows: a pool of training items, and which of them are shown beside an item.

Liu et al. 2022, "What makes good in-context examples for GPT-3?" (the most similar ones); Carbonell and Goldstein 1998,
"The use of MMR" (similar, and unlike each other); Lu et al. 2022, "Fantastically ordered prompts and where to find
them" (their order matters, so it is a setting).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from miaobi.sampling.noise import uniform
from miaobi.types import Batch, Field, Form, Spec

Choice = Literal["random", "similar", "diverse"]
_ALIKE = 0.5
"""What likeness to the item counts beside unlikeness to the examples already chosen."""


class Pool(nn.Module):
    """The ``size`` training items with the smallest random keys, in buffers of fixed shapes.

    Args:
        size: how many are kept.
        specs: what ``target`` and each condition look like: tokens or labels.
        width: numbers that describe an item, for likeness; 0: none do.
    """

    keys: Tensor
    features: Tensor

    def __init__(self, size: int, specs: Mapping[str, Spec], width: int = 0) -> None:
        super().__init__()
        self.specs = dict(sorted(specs.items()))
        # 2 is more than any key: nothing is there yet.
        self.register_buffer("keys", torch.full((size,), 2.0))
        self.register_buffer("features", torch.zeros(size, width))
        for index, spec in enumerate(self.specs.values()):
            shape = (size,) if spec.form is Form.LABEL else (size, max(1, spec.max_length))
            self.register_buffer(f"values_{index}", torch.zeros(shape, dtype=torch.int64))
            # A label's length says whether it is present.
            self.register_buffer(f"lengths_{index}", torch.full((size,), -1, dtype=torch.int64))

    def __len__(self) -> int:
        return int((self.keys < 2).sum())

    def take(self, batch: Batch, describe: Callable[[Batch], Tensor]) -> None:
        """Look at more training items; those that are kept are described by ``[B, width]`` of ``describe``."""
        fields = {"target": batch.target, **batch.conditions}
        keys = torch.cat([self.keys, uniform(batch.ids.to(self.keys.device), "pool").to(self.keys.dtype)])
        kept = keys.argsort(stable=True)[: len(self.keys)]
        for index, name in enumerate(self.specs):
            values, lengths = self._tensors(index)
            more, sizes = _stored(fields[name], values)
            values.copy_(torch.cat([values, more])[kept])
            lengths.copy_(torch.cat([lengths, sizes])[kept])
        self.keys.copy_(keys[kept])
        new = (kept >= len(self.keys)).nonzero()[:, 0]
        features = self.features[kept.clamp(max=len(self.keys) - 1)]
        if self.features.shape[1] and len(new):
            features[new] = describe(self.rows(new))
        self.features.copy_(features)

    def rows(self, chosen: Tensor) -> Batch:
        """The items of indices ``chosen [N]``."""
        fields = {name: self._field(index, chosen) for index, name in enumerate(self.specs)}
        return Batch(fields.pop("target"), fields, ids=chosen)

    def _tensors(self, index: int) -> tuple[Tensor, Tensor]:
        return self.get_buffer(f"values_{index}"), self.get_buffer(f"lengths_{index}")

    def _field(self, index: int, chosen: Tensor) -> Field:
        values, lengths = (part[chosen] for part in self._tensors(index))
        present = lengths >= 0
        if values.ndim == 1:
            return Field(values, present=present)
        longest = int(lengths.clamp(min=1).max())
        return Field(values[:, :longest], lengths=lengths.clamp(min=0), present=present)


def choose(how: Choice, query: Tensor | None, pool: Tensor, count: int) -> Tensor:
    """Indices ``[count]`` of the examples to show, the last one nearest to the item.

    Args:
        how: ``random`` takes the pool's first, the same for every item.
        query: ``[D]`` of the item, of length 1; ``None``: there is nothing to compare.
        pool: ``[N, D]`` of the examples, each of length 1.
        count: at most N are chosen.
    """
    count = min(count, len(pool))
    if how == "random" or query is None:
        return torch.arange(count, device=pool.device)
    alike = pool @ query
    found = alike.topk(count).indices if how == "similar" else _diverse(alike, pool, count)
    return found.flip(0)


def permuted(count: int, order: int) -> list[int]:
    """A permutation of ``count`` places: their own for order 0, one of its own for any other number."""
    if not order:
        return list(range(count))
    keys = uniform(torch.tensor([order]), "order", (count,))[0]
    return keys.argsort(stable=True).tolist()  # type: ignore[no-any-return]


def _diverse(alike: Tensor, pool: Tensor, count: int) -> Tensor:
    chosen = [int(alike.argmax())]
    while len(chosen) < count:
        near = (pool @ pool[chosen].T).amax(1)
        gain = _ALIKE * alike - (1 - _ALIKE) * near
        gain[chosen] = float("-inf")
        chosen.append(int(gain.argmax()))
    return torch.tensor(chosen, device=pool.device)


def _stored(field: Field, like: Tensor) -> tuple[Tensor, Tensor]:
    """Values and lengths of a field, as wide as ``like``."""
    field = field.to(like.device)
    present = field.is_present()
    if like.ndim == 1:
        return field.values, torch.where(present, 0, -1)
    width = like.shape[1]
    values = field.values[:, :width]
    values = torch.nn.functional.pad(values, (0, width - values.shape[1]))
    return values, torch.where(present, field.mask().sum(1).clamp(max=width), -1)
