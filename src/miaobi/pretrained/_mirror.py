"""Parameters of a module that is out of sight, in sight under their own names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import nn


def mirror(parameters: Mapping[str, nn.Parameter]) -> nn.Module:
    """A module that holds these very parameters under their dotted names, and does nothing."""
    root = nn.Module()
    for name, parameter in parameters.items():
        *path, leaf = name.split(".")
        place = root
        for part in path:
            if part not in place._modules:
                place.add_module(part, nn.Module())
            place = place.get_submodule(part)
        place.register_parameter(leaf, parameter)
    return root


def chosen(module: nn.Module, names: Iterable[str]) -> dict[str, nn.Parameter]:
    """The parameters of these names."""
    wanted = set(names)
    return {name: parameter for name, parameter in module.named_parameters() if name in wanted}
