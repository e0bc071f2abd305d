"""From a recipe's model section to a family with its networks, every option validated before any work."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from miaobi import families, networks, plugins, pretrained
from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.families import Family, Ports
from miaobi.networks import Network
from miaobi.recipe import ModelSettings, Recipe, plugin_options
from miaobi.sampling.noise import derive_one
from miaobi.types import Size, Spec


def construct(recipe: Recipe, target: Spec, conditions: Mapping[str, Spec], parts: Mapping[str, Family]) -> Family:
    """A family with freshly initialised networks and these frozen ``parts``; arguments and errors as for `build`."""
    family = families.find(recipe.model.family)
    check_target(family, target)
    config = family.Config.parse(recipe.model.options, "recipe.model.options")
    ports = family.ports(config, target, conditions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_one(recipe.seed, "initial weights"))
        built = {
            role: _network(role, ports[role], section, recipe.model.size)
            for role, section in role_sections(recipe.model, family, target).items()
        }
        return family(config, built, parts, target, conditions)


def check_target(family: type[Family], target: Spec) -> None:
    """Refuse a target whose form the family does not model."""
    if target.form in family.targets:
        return
    fitting = [name for name in families.names() if target.form in families.find(name).targets]
    raise Unsupported(
        f"the family {plugins.name_of(family)} does not model {target.form}",
        given=f"a target of form {target.form}",
        allowed=[str(form) for form in family.targets],
        cure=f"use one of: {', '.join(fitting)}",
    )


def role_sections(model: ModelSettings, family: type[Family], target: Spec) -> dict[str, dict[str, Any]]:
    """The network section of each role: given per role, or one for all roles."""
    given, roles = model.network, family.roles
    default = {role: {"name": name} for role, name in family.defaults(target).items()}
    if not given:
        return default
    if not roles:
        raise InvalidRecipe(f"the family {model.family} has no network", given=given, cure="remove model.network")
    if set(given) <= set(roles):
        return {role: {**default[role], **_mapping(given.get(role, {}))} for role in roles}
    strangers = set(given) & set(roles)
    if strangers or ("name" not in given and len(roles) > 1):
        unknown = min(set(given) - set(roles))
        raise UnknownName("role in model.network", unknown, [*roles, "name"])
    return {role: {**default[role], **given} for role in roles}


def rebuild(family: type[Family], saved: Mapping[str, Any], parts: Mapping[str, Family]) -> Family:
    """The inverse of `describe`, with weights yet to be loaded."""
    target = Spec.from_json(saved["target"])
    conditions = {name: Spec.from_json(spec) for name, spec in saved["conditions"].items()}
    config = family.Config.parse(saved["config"], "model.json: config")
    built = {}
    for role, port in family.ports(config, target, conditions).items():
        entry = saved["networks"][role]
        network = find_network(entry["name"])
        options = network.Config.parse(entry["config"], f"model.json: networks.{role}")
        built[role] = network(options, port.source, port.target, port.conditions)
    return family(config, built, parts, target, conditions)


def describe(family: Family) -> dict[str, Any]:
    """Everything but weights that is needed to build the family again; plain JSON."""
    return {
        "family": plugins.name_of(type(family)),
        "config": family.config.to_json(),
        "target": family.target.to_json(),
        "conditions": {name: spec.to_json() for name, spec in family.conditions.items()},
        "networks": {
            role: {"name": plugins.name_of(type(network)), "config": network.config.to_json()}
            for role in type(family).roles
            if isinstance(network := getattr(family, role), Network)
        },
    }


def find_network(name: str) -> type[Network]:
    """The network class of a name, among those of ``networks`` and of ``pretrained``.

    Raises:
        UnknownName: with the nearest matches.
    """
    if name.replace("-", "_") in pretrained.names():
        return pretrained.find(name)
    if name.replace("-", "_") not in networks.names():
        raise UnknownName("name among the networks", name, [*networks.names(), *pretrained.names()])
    return networks.find(name)


def _network(role: str, port: Ports, section: Mapping[str, Any], size: Size) -> Network:
    network = find_network(section["name"])
    _require_inputs(network, section["name"], port)
    said = plugin_options(dict(section))
    # A network that was published has one size; it says itself what it needs.
    preset = {} if "base" in said else network.preset(size, port.source, port.target, port.conditions).to_json()
    told = {name: True for name in port.inputs if name in network.Config.model_fields}
    options = {**preset, **told, **said}
    config = network.Config.parse(options, f"recipe.model.network.{role}")
    return network(config, port.source, port.target, port.conditions)


def _require_inputs(network: type[Network], name: str, port: Ports) -> None:
    if _takes(network, port.inputs):
        return
    raise Unsupported(
        f"the network {name} does not take what its family tells it",
        given=f"inputs {', '.join(port.inputs)}",
        allowed=[other for other in networks.names() if _takes(networks.find(other), port.inputs)],
        cure="name another network under model.network",
    )


def _takes(network: type[Network], inputs: tuple[str, ...]) -> bool:
    return set(inputs) <= set(inspect.signature(network.forward).parameters)


def _mapping(section: Any) -> dict[str, Any]:
    return {"name": section} if isinstance(section, str) else dict(section)
