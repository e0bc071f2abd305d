"""Networks around a model of transformers that stays out of sight, but for what of it is trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

from torch import nn

from miaobi.pretrained._base import Base
from miaobi.pretrained._mirror import mirror


class Held(nn.Module):
    """What is frozen enters no optimiser, average, checkpoint or model folder: it is no submodule.

    It still follows the network into training mode and onto another device.
    """

    base: Base | None

    def hold(self, inner: nn.Module, base: Base | None, trained: Mapping[str, nn.Parameter]) -> None:
        """Take ``inner``, of which ``trained`` are parameters by the names that they have in checkpoints.

        Args:
            inner: what computes.
            base: whose frozen tensors it has; ``None``: none, all of it is trained.
            trained: parameters of ``inner``.
        """
        self._inner = (inner,)
        self.base = base
        self.trained = mirror(trained)

    @property
    def inner(self) -> Any:
        """What computes."""
        return self._inner[0]

    @property
    def borrowed(self) -> int:
        """How many numbers ``inner`` has that are not trained."""
        own = {id(parameter) for parameter in self.parameters()}
        return sum(one.numel() for one in self.inner.parameters() if id(one) not in own)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy of what is trained, over the same frozen tensors."""
        own = {id(parameter) for parameter in self.parameters()}
        shared: list[Any] = [one for one in self.inner.parameters() if id(one) not in own]
        memo.update({id(one): one for one in (*shared, self.base)})
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return made

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.inner.train(mode)
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self.inner._apply(fn, recurse)
        return self
