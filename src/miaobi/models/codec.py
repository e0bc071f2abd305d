"""A frozen model as a `Codec`: what data layers need of it, and nothing else."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from miaobi.families import Representing, require
from miaobi.models.model import Model
from miaobi.models.weights import tensors_of
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Spec


class PartCodec:
    """Represents targets by a loaded model.

    Args:
        model: in eval mode.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.modality = model.modality
        self.digest = digest(model.family)

    def specs(self) -> dict[str, Spec]:
        """What each kind looks like; empty for a family that represents nothing."""
        return self.model.family.representations() if isinstance(self.model.family, Representing) else {}

    @torch.no_grad()
    def represent(self, target: Field, kind: str) -> Tensor:
        """Values of a batch of targets in that kind, on the processor."""
        rows = len(target)
        batch = Batch(target, ids=torch.arange(rows)).to(self._device)
        # The same whatever the caller trains in.
        with torch.autocast(self._device.type, enabled=False):
            values: Tensor = self._able().represent(batch, kind).values
        return values.cpu()

    @torch.no_grad()
    def restore(self, values: Tensor, kind: str) -> Tensor:
        """Targets for values of that kind, on the processor."""
        seeds = seeds_of(0, range(len(values))).to(self._device)
        with torch.autocast(self._device.type, enabled=False):
            restored: Tensor = self._able().restore(Field(values.to(self._device)), kind, seeds=seeds).values
        return restored.cpu()

    @property
    def _device(self) -> torch.device:
        return torch.device(self.model.family.device)

    def _able(self) -> Representing:
        family: Representing = require(self.model.family, Representing, "representing data")
        return family


def digest(family: torch.nn.Module) -> str:
    """Of a family's weights and buffers, by name."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors_of(family).items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:32]
