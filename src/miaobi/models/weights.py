"""Weights as safetensors: one copy of each tensor, however many names it has, and a strict way back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from miaobi.errors import CorruptFile, SaveFailed


def tensors_of(module: nn.Module) -> dict[str, Tensor]:
    """Every parameter and persistent buffer by name, tied tensors under their first name only."""
    seen: set[int] = set()
    tensors: dict[str, Tensor] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            tensors[name] = tensor.detach()
    return tensors


def load_into(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy ``tensors`` into a module built for them.

    Raises:
        CorruptFile: names or shapes differ; the first few are listed.
    """
    try:
        missing, unexpected = module.load_state_dict(dict(tensors), strict=False)
    except RuntimeError as error:
        raise CorruptFile(f"the weights in {where} do not fit the model", given=str(error)) from None
    state = module.state_dict(keep_vars=True)
    loaded = {id(state[name]) for name in tensors if name in state}
    missing = [name for name in missing if id(state[name]) not in loaded]
    if missing or unexpected:
        raise CorruptFile(
            f"the weights in {where} do not fit the model",
            given=f"missing {list(missing)[:5]}, unexpected {list(unexpected)[:5]}",
            cure="use the folder with the version that wrote it, or train again",
        )


def write_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a safetensors file.

    Raises:
        SaveFailed: the disk is full or not writable.
    """
    try:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)
    except (OSError, SafetensorError) as error:
        raise SaveFailed(f"could not write {path.name}: {error}", cure="free some disk space and resume") from None


def read_tensors(path: Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        CorruptFile: absent, cut short or altered.
    """
    try:
        return load_file(path, device=str(device))
    except (OSError, SafetensorError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read as safetensors: {error}") from None
