"""What a recipe's data section means, checked before any work: the source, its columns, modalities and split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from miaobi import modalities
from miaobi.data.roles import Roles, assign, holds_text, split_of
from miaobi.data.sources import Source, open_source
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.modalities import Modality
from miaobi.recipe import DataSettings, Plugin, Split, plugin_name, plugin_options
from miaobi.types import Form

Fitted = tuple[Modality, Mapping[str, Modality]]


@dataclass(frozen=True, slots=True)
class Plan:
    """A data section with everything that it names found.

    Attributes:
        conditions: the target's own modality object where the tokenizer is shared.
    """

    settings: DataSettings
    source: Source
    modality: Modality
    conditions: dict[str, Modality]
    roles: Roles
    split: Split

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


def make_plan(modality: Plugin, settings: DataSettings, cache: Path, fitted: Fitted | None = None) -> Plan:
    """Open the source and check every name.

    Args:
        modality: the target's section.
        settings: the data section.
        cache: where catalog data is fetched to.
        fitted: modalities to use in place of new ones.

    Raises:
        RequestError: a name, option or column that does not exist or fit.
    """
    target, conditions = fitted or _create(modality, settings)
    if conditions.keys() != settings.condition.keys():
        raise InvalidRecipe(
            "the data has other conditions than the model", given=list(settings.condition), allowed=list(conditions)
        )
    if settings.representation is not None:
        raise Unsupported("representations other than the modality's own", given=settings.representation)
    source = open_source(settings.source, cache, extensions=target.extensions, literal=holds_text(target))
    if source.stream and settings.augment:
        raise InvalidRecipe("a stream cannot be augmented", given=settings.augment, cure="remove data.augment")
    target.check_augment(settings.augment)
    split = split_of(source, settings)
    roles = assign(source, settings, split, target, conditions)
    return Plan(settings, source, target, dict(conditions), roles, split)


def _create(modality: Plugin, settings: DataSettings) -> Fitted:
    target = modalities.create(modality)
    conditions = {}
    for name, section in settings.condition.items():
        same = plugin_name(section.modality) == plugin_name(modality) and not plugin_options(section.modality)
        shares = same and target.form is Form.TOKENS
        conditions[name] = target if shares else modalities.create(section.modality, f"data.condition.{name}.modality")
    return target, conditions
