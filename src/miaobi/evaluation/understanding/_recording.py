"""Attention as it happened, by hooks that change nothing; and rollout, what it adds up to over layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from miaobi.families import Family
from miaobi.networks import Attending, Look, Network


@dataclass(frozen=True, slots=True)
class Attended:
    """What one module attended to, the last time that it was called.

    Attributes:
        role: the family's network that it is in.
        module: its name in it.
        looks: what its positions see.
        weights: ``[B, H, L, S]`` float32.
    """

    role: str
    module: str
    looks: Look
    weights: Tensor


@dataclass(slots=True)
class Recording:
    """What the networks of a family did, each the last time that it was called; modules in the order of calls.

    Attributes:
        attended: by role and module.
        fed: by role, the tokens ``[B, L]`` that the network was given.
    """

    attended: dict[tuple[str, str], Attended] = field(default_factory=dict)
    fed: dict[str, Tensor] = field(default_factory=dict)


def attending(family: Family) -> list[tuple[str, str, Any]]:
    """Every module of a family's networks that can say how it attends: role, name, module."""
    return [
        (role, name, module)
        for role, network in family.named_children()
        if isinstance(network, Network)
        for name, module in network.named_modules()
        if isinstance(module, Attending)
    ]


@contextmanager
def recording(family: Family) -> Iterator[Recording]:
    """Record what a family's networks attend to while it is used; what they compute is the same, bit for bit."""
    kept = Recording()
    with ExitStack() as hooks:
        for role, network in family.named_children():
            if isinstance(network, Network):
                handle = network.register_forward_pre_hook(_feeding(kept, role))
                hooks.callback(handle.remove)
        for role, name, module in attending(family):
            hooks.callback(module.register_forward_hook(_hearing(kept, role, name)).remove)
        yield kept


def rollout(layers: Sequence[Tensor]) -> Tensor:
    """How much of each input reaches each position through all layers, ``[L, L]``, rows summing to one.

    Abnar and Zuidema 2020, "Quantifying attention flow in transformers": heads are averaged, the residual stream
    counts as much as attention does, and layers are multiplied.

    Args:
        layers: ``[H, L, L]`` each, the first layer first; at least one.
    """
    own = torch.eye(layers[0].shape[-1], dtype=torch.float64)
    found = own
    for weights in layers:
        found = 0.5 * (weights.double().mean(0).cpu() + own) @ found
    return found


def _feeding(kept: Recording, role: str) -> Any:
    def hook(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if inputs and isinstance(inputs[0], Tensor) and not inputs[0].is_floating_point():
            kept.fed[role] = inputs[0].detach()

    return hook


def _hearing(kept: Recording, role: str, name: str) -> Any:
    def hook(module: Any, inputs: tuple[Any, ...], _output: Any) -> None:
        with torch.no_grad():
            weights = module.weights(*inputs).float().cpu()
        # Popped, so that the order is that of the last call.
        kept.attended.pop((role, name), None)
        kept.attended[role, name] = Attended(role, name, module.looks, weights)

    return hook
