"""An exponential moving average of the weights: what is evaluated, sampled and shipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from miaobi.errors import CorruptFile


class Average:
    """Averages the parameters of a module; its buffers are always the module's own, as they are.

    The decay rises from 0.1 towards ``decay`` as (1 + n) / (10 + n) after n updates, so that short runs are not
    dominated by the initial weights.

    Args:
        module: what is averaged.
        decay: in (0, 1), reached late in a run.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.names, self._live = map(list, zip(*module.named_parameters(), strict=True))
        self._tensors = [parameter.detach().clone() for parameter in self._live]

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """Take in the current weights, after ``updates`` earlier updates."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(self._tensors, self._live, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The averaged weights stand in the module inside; the live ones come back bit for bit."""
        live = [parameter.detach().clone() for parameter in self._live]
        with torch.no_grad():
            torch._foreach_copy_(self._live, self._tensors)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._live, live)

    def state(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(zip(self.names, self._tensors, strict=True))

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`.

        Raises:
            CorruptFile: other names or shapes.
        """
        if tensors.keys() != set(self.names) or any(tensors[n].shape != t.shape for n, t in self.state().items()):
            raise CorruptFile("the averaged weights in the checkpoint do not fit the model")
        with torch.no_grad():
            torch._foreach_copy_(self._tensors, [tensors[name] for name in self.names])
