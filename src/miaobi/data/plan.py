"""What a recipe's data section means, checked before any work: the source, its columns, modalities and split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miaobi import modalities
from miaobi.data.roles import Roles, assign, holds_text, split_of
from miaobi.data.sources import Source, open_source
from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.modalities import Codec, Modality, Represented, Truth, Viewed, views
from miaobi.recipe import ConditionSettings, DataSettings, Plugin, Split, plugin_name, plugin_options
from miaobi.types import Form

Fitted = tuple[Modality, Mapping[str, Modality]]
Parts = Mapping[str, Codec]


@dataclass(frozen=True, slots=True)
class Plan:
    """A data section with everything that it names found.

    Attributes:
        conditions: those that are stored; the target's own modality object where the tokenizer is shared.
        views: those that are computed from the target.
        extras: what else an item brings; the target's own modality object for what the target is preferred to.
    """

    settings: DataSettings
    source: Source
    modality: Modality
    conditions: dict[str, Modality]
    views: dict[str, Viewed]
    extras: dict[str, Modality]
    roles: Roles
    split: Split

    @property
    def columns(self) -> dict[str, Modality]:
        """The modality of each stored column: ``target``, ``condition.NAME``, ``extra.NAME``."""
        conditions = {f"condition.{name}": other for name, other in self.conditions.items()}
        return {"target": self.modality} | conditions | {f"extra.{name}": other for name, other in self.extras.items()}

    @property
    def subject(self) -> str:
        """The column that items are known by: the target, or the first condition where the target identifies nothing.

        What a classifier reads is divided, measured and compared just as where it is itself the target.
        """
        return next((name for name, modality in self.columns.items() if modality.identifies), "target")

    @property
    def groups(self) -> bool:
        """Whether the split needs to know what belongs together."""
        return self.split.by != "position"

    @property
    def compares(self) -> bool:
        """Whether near duplicates are looked for."""
        return self.groups or self.settings.clean.duplicates == "near"

    @property
    def shared(self) -> list[str]:
        """Conditions that use the target's tokenizer."""
        return [name for name, condition in self.conditions.items() if condition is self.modality]

    @property
    def fitted_on(self) -> list[str]:
        """The stored columns that the target's modality learns from."""
        return [name for name, other in self.columns.items() if other is self.modality]


def make_plan(
    modality: Plugin, settings: DataSettings, cache: Path, fitted: Fitted | None = None, parts: Parts | None = None
) -> Plan:
    """Open the source and check every name.

    Args:
        modality: the target's section.
        settings: the data section.
        cache: where catalog data is fetched to.
        fitted: modalities to use in place of new ones.
        parts: frozen models that represent the target or that views compute through, by name.

    Raises:
        RequestError: a name, option or column that does not exist or fit.
    """
    target, conditions = fitted or _create(modality, settings, parts or {})
    if conditions.keys() != settings.condition.keys():
        raise InvalidRecipe(
            "the data has other conditions than the model", given=list(settings.condition), allowed=list(conditions)
        )
    source = open_source(settings.source, cache, extensions=target.extensions, literal=holds_text(target))
    if source.stream and settings.augment:
        raise InvalidRecipe("a stream cannot be augmented", given=settings.augment, cure="remove data.augment")
    if settings.extra and settings.augment:
        raise InvalidRecipe(
            "data.augment varies the target, and what was said of it (data.extra) is of it as it is",
            given=settings.augment,
            cure="remove data.augment",
        )
    target.check_augment(settings.augment)
    split = split_of(source, settings)
    seen = {name: other for name, other in conditions.items() if isinstance(other, Viewed)}
    stored = {name: other for name, other in conditions.items() if name not in seen}
    roles = assign(source, settings, split, target, stored)
    extras: dict[str, Modality] = {name: target if name == "rejected" else Truth() for name in settings.extra}
    return Plan(settings, source, target, stored, seen, extras, roles, split)


def _create(modality: Plugin, settings: DataSettings, parts: Parts) -> Fitted:
    target = _target(modality, settings.representation, parts)
    conditions: dict[str, Modality] = {}
    for name, section in settings.condition.items():
        where = f"data.condition.{name}"
        same = plugin_name(section.modality) == plugin_name(modality) and not plugin_options(section.modality)
        if section.view is not None:
            conditions[name] = viewed(target, section, parts, where)
        elif same and target.form is Form.TOKENS and target.shown is target:
            conditions[name] = target
        else:
            conditions[name] = modalities.create(section.modality, f"{where}.modality")
    return target, conditions


def viewed(target: Modality, section: ConditionSettings, parts: Parts, where: str) -> Viewed:
    """The modality of a condition that is a view of the target.

    Raises:
        InvalidRecipe: a column is named too, or the target is itself a representation.
        UnknownName: no such view.
        Unsupported: the view is of targets of another form.
    """
    plugin = section.view or {}
    if section.column is not None:
        raise InvalidRecipe(f"{where}: a view has no column", given=section.column, cure="leave out column, or view")
    if isinstance(target, Represented):
        raise InvalidRecipe(
            f"{where}: a view cannot be taken of a representation", given=plugin, cure="train on the target itself"
        )
    view = views.create(plugin, f"{where}.view")
    if target.form is not view.form:
        raise Unsupported(
            f"{where}: the view {plugin_name(plugin)} cannot be taken of this target",
            given=f"a target of form {target.form}",
            allowed=f"targets of form {view.form}",
        )
    described: dict[str, Any] = {"name": plugin_name(plugin), **plugin_options(plugin)}
    return Viewed(target, view.bind(parts), described)


def _target(modality: Plugin, representation: str | None, parts: Parts) -> Modality:
    """The target's modality: as the recipe names it, in a representation of its own, or in that of a part.

    Raises:
        UnknownName: no such part.
        InvalidRecipe: the part has no such kind, or is of another modality.
    """
    if representation is None:
        return modalities.create(modality)
    part, dot, kind = representation.partition(".")
    if not dot:
        own = {"name": plugin_name(modality), **plugin_options(modality), "representation": representation}
        return modalities.create(own)
    if part not in parts:
        raise UnknownName("part in data.representation", part, parts, cure="name it under model.parts")
    codec = parts[part]
    options, seen = plugin_options(modality), codec.modality.shown
    if seen.name != plugin_name(modality):
        raise InvalidRecipe(
            f"the part {part} does not represent {plugin_name(modality)}",
            given=f"a part trained on {seen.name}",
        )
    # What is not said is as the part has it: a sound's own form, for one, was said where the part was trained.
    if type(seen.config).parse(seen.config.to_json() | options) != seen.config:
        raise InvalidRecipe(
            f"the part {part} was trained on a {seen.name} of other options",
            given=options,
            allowed=str(seen.config.to_json()),
            cure="leave the modality's options out, or give the part's",
        )
    return Represented(codec, part, kind)
