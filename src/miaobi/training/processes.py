"""The device and the other processes of a run: accelerate's device, wrapping and process group, and nothing else of it.

Started by ``torchrun``, every process takes its own rows of the same global batch, and sums are added up over all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast
from torch import Tensor, nn

from miaobi.errors import Unsupported
from miaobi.types import Batch


class Processes:
    """One process among its peers.

    Attributes:
        device: where this process computes.
        count: number of processes.
        rank: this one, from 0; only 0 writes.

    Args:
        alone: act as the only process, whoever else there is.
    """

    def __init__(self, *, alone: bool = False) -> None:
        # Several processes without a GPU are found only by an Accelerator that is told to use the CPU.
        # A phase trains some of the modules only; the others get no gradient and must not be waited for.
        self._accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
        )
        if self._accelerator.num_processes != int(os.environ.get("WORLD_SIZE", "1")):
            raise Unsupported("the processes did not find each other", given=os.environ["WORLD_SIZE"])
        self.device: torch.device = self._accelerator.device
        if self.device.type == "cuda":
            # The fastest gradients of convolutions differ from run to run; a run that is resumed should not.
            torch.backends.cudnn.deterministic = True
        self.count: int = 1 if alone else self._accelerator.num_processes
        self.rank: int = 0 if alone else self._accelerator.process_index

    @property
    def writes(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module on its device; with several processes, wrapped so that gradients are averaged over them."""
        if self.count == 1:
            return module.to(self.device)
        wrapped: nn.Module = self._accelerator.prepare_model(module)
        return wrapped

    def without_sync(self, module: nn.Module, waiting: bool) -> Any:
        """A context in which gradients stay local while more micro-batches are ``waiting``."""
        return self._accelerator.no_sync(module) if waiting and self.count > 1 else nullcontext()

    def rows(self, batch: Batch) -> Batch:
        """The rows of this process in a global batch."""
        if self.count == 1:
            return batch
        bounds = [len(batch) * rank // self.count for rank in range(self.count + 1)]
        return batch.select(slice(bounds[self.rank], bounds[self.rank + 1]))

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        summed: Tensor = self._accelerator.reduce(tensor, "sum") if self.count > 1 else tensor
        return summed

    def sum_all(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`sum` of each, in the order of their names."""
        return {name: self.sum(tensors[name]) for name in sorted(tensors)}

    def agree(self, value: Any) -> Any:
        """The first process's ``value`` in every process; JSON, because nothing is ever unpickled."""
        if self.count == 1:
            return value
        data = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8).to(self.device)
        size = int(broadcast(torch.tensor([len(data)], device=self.device)))
        data = data if self.rank == 0 else torch.empty(size, dtype=torch.uint8, device=self.device)
        return json.loads(bytes(broadcast(data).tolist()))

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0) if self.count > 1 else flag

    def first(self) -> AbstractContextManager[Any]:
        """The first process goes through before the others: what it caches, they find."""
        context: AbstractContextManager[Any] = self._accelerator.main_process_first()
        return context
