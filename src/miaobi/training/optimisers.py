"""Optimisers, one a set of modules, whose state is kept by parameter name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from torch import Tensor, nn

from miaobi.errors import CorruptFile, InvalidRecipe, UnknownName
from miaobi.families import Family
from miaobi.networks._cpu import fast_bfloat16
from miaobi.recipe import OptimiserSettings, TrainSettings
from miaobi.training.muon import Muon
from miaobi.types import Phase

Named = dict[str, nn.Parameter]
_OTHER_RATE = 0.15
"""AdamW's rate beside Muon's, as a share of it, where the recipe gives none: 0.02 goes with 0.003."""


class PhaseOptimiser:
    """The optimiser of a set of modules: one of torch's, or Muon for matrices beside AdamW for the rest.

    Args:
        named: the parameters by name.
        optimisers: over these parameters, each in exactly one.
    """

    def __init__(self, named: Named, optimisers: Sequence[torch.optim.Optimizer]) -> None:
        self.named = named
        self.parameters = list(named.values())
        self._names = {id(parameter): name for name, parameter in named.items()}
        self._optimisers = list(optimisers)
        self._rates = [group["lr"] for group in self._groups()]

    def gradients(self) -> list[Tensor]:
        """The gradients that there are."""
        return [parameter.grad for parameter in self.parameters if parameter.grad is not None]

    def step(self, scale: float) -> None:
        """Update with every rate times ``scale``, and drop the gradients."""
        for group, rate in zip(self._groups(), self._rates, strict=True):
            group["lr"] = rate * scale
        for optimiser in self._optimisers:
            optimiser.step()
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Free the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """State tensors as ``PARAMETER/KEY``."""
        return {
            f"{self._names[id(parameter)]}/{key}": value
            for optimiser in self._optimisers
            for parameter, entries in optimiser.state.items()
            for key, value in entries.items()
            if isinstance(value, Tensor)
        }

    def groups(self) -> list[dict[str, Any]]:
        """Each group's names and settings as plain JSON, with the rate before the schedule."""
        return [
            {
                "parameters": [self._names[id(parameter)] for parameter in group["params"]],
                **{k: v for k, v in group.items() if isinstance(v, float | int | str) and k != "lr"},
                "rate": rate,
            }
            for group, rate in zip(self._groups(), self._rates, strict=True)
        ]

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """The inverse of `state`.

        Raises:
            CorruptFile: a tensor of an unknown parameter.
        """
        states: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            name, _, entry = key.rpartition("/")
            states.setdefault(name, {})[entry] = tensor
        if strangers := sorted(states.keys() - self.named.keys()):
            raise CorruptFile("the optimiser state in the checkpoint does not fit the model", given=strangers[:5])
        for optimiser in self._optimisers:
            _load(optimiser, self._names, states)

    def _groups(self) -> list[dict[str, Any]]:
        # Never kept: an optimiser makes new groups when it loads a state.
        return [group for optimiser in self._optimisers for group in optimiser.param_groups]


def build(family: Family, phases: Iterable[Phase], settings: TrainSettings) -> dict[frozenset[str], PhaseOptimiser]:
    """An optimiser for each distinct set of modules among ``phases``.

    Raises:
        InvalidRecipe: a frozen pattern matches nothing, or everything.
        UnknownName: ``phase_learning_rate`` names no phase.
    """
    phases = list(phases)
    for name in settings.phase_learning_rate:
        if name not in {phase.name for phase in phases}:
            raise UnknownName("phase in train.phase_learning_rate", name, [phase.name for phase in phases])
    frozen = frozen_names(family, settings.freeze)
    built = {}
    for modules in dict.fromkeys(frozenset(phase.modules) for phase in phases):
        named = {name: p for name, p in family.named_parameters() if _inside(name, modules) and name not in frozen}
        if not named:
            raise InvalidRecipe("nothing is left to train", given=settings.freeze, cure="freeze less in train.freeze")
        built[modules] = PhaseOptimiser(named, _optimisers(family, named, settings))
    return built


def rate_of(phase: Phase, settings: TrainSettings) -> float:
    """A phase's own rate as a multiple of ``learning_rate``."""
    return settings.phase_learning_rate.get(phase.name, settings.learning_rate) / settings.learning_rate


def frozen_names(family: Family, patterns: Sequence[str]) -> set[str]:
    """Names of the parameters that match any of the shell-style ``patterns``.

    Raises:
        InvalidRecipe: a pattern matches nothing.
    """
    names = [name for name, _ in family.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InvalidRecipe("a pattern of train.freeze matches no parameter", given=pattern, allowed=names[:20])
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _inside(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _optimisers(family: Family, named: Named, settings: TrainSettings) -> list[torch.optim.Optimizer]:
    rate = settings.learning_rate
    options = settings.optimiser.model_copy(update={"betas": settings.optimiser.betas or family.betas})
    if options.name != "muon":
        return [_plain(options.name, named, options, rate)]
    hidden = hidden_matrices(family)
    matrices = [parameter for name, parameter in named.items() if name in hidden]
    others = {name: parameter for name, parameter in named.items() if name not in hidden}
    momentum = 0.95 if options.momentum is None else options.momentum
    built: list[torch.optim.Optimizer] = []
    if matrices:
        built.append(Muon(matrices, rate, momentum, options.weight_decay, fast_bfloat16(family.device)))
    if others:
        built.append(_plain("adamw", others, options, options.other_learning_rate or rate * _OTHER_RATE))
    return built


def _plain(name: str, named: Named, options: OptimiserSettings, rate: float) -> torch.optim.Optimizer:
    groups = _decay_groups(named, options.weight_decay)
    if name == "sgd":
        momentum = 0.9 if options.momentum is None else options.momentum
        return torch.optim.SGD(groups, rate, momentum=momentum, foreach=True)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(groups, rate, betas=cast(tuple[float, float], options.betas), fused=True)


def _decay_groups(named: Named, decay: float) -> list[dict[str, Any]]:
    # Gains and biases are not decayed: they set scales, which decay would fight.
    matrices = [parameter for parameter in named.values() if parameter.ndim >= 2]
    vectors = [parameter for parameter in named.values() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def hidden_matrices(family: Family) -> set[str]:
    """Names of the matrices between layers: neither embeddings nor maps to a vocabulary, nor tied to one."""
    embeddings = {id(m.weight) for m in family.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)}
    sizes = {spec.vocabulary for spec in (family.target, *family.conditions.values()) if spec.vocabulary}
    return {
        name
        for name, parameter in family.named_parameters()
        if parameter.ndim >= 2 and id(parameter) not in embeddings and not _is_head(name, parameter, sizes)
    }


def _is_head(name: str, parameter: Tensor, vocabularies: set[int]) -> bool:
    leaves = name.split(".")
    return parameter.shape[0] in vocabularies or "head" in leaves or "output" in leaves


def _load(optimiser: torch.optim.Optimizer, names: Mapping[int, str], states: Mapping[str, dict[str, Tensor]]) -> None:
    # Through the optimiser's own way in, which puts each tensor where and in the type that it wants.
    order = [names[id(p)] for group in optimiser.param_groups for p in group["params"]]
    saved = optimiser.state_dict()
    saved["state"] = {index: states[name] for index, name in enumerate(order) if name in states}
    optimiser.load_state_dict(saved)
