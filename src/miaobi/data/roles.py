"""Which column of a source is what: the target, each condition, the group, the split."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from miaobi.data.sources import Problem, Source, use_files
from miaobi.errors import DataError, InvalidRecipe, UnreadableItem
from miaobi.modalities import Modality
from miaobi.recipe import DataSettings, Split

_HEAD = 50


@dataclass(frozen=True, slots=True)
class Roles:
    """Column names by role; ``split`` is set where the split is given by the source.

    ``row`` has the columns that the target is made of together, where it is made of several; ``target`` is one of them.
    """

    target: str
    conditions: dict[str, str]
    extras: dict[str, str] = field(default_factory=dict)
    group: str | None = None
    split: str | None = None
    row: tuple[str, ...] = ()

    @property
    def columns(self) -> list[str]:
        """Every column in use, once."""
        extra = [name for name in (self.group, self.split) if name is not None]
        return list(dict.fromkeys([self.target, *self.row, *self.conditions.values(), *self.extras.values(), *extra]))


def holds_text(modality: Modality) -> bool:
    """Whether text in a table is the modality's item itself (or spells it), and not the name of a file."""
    try:
        return isinstance(modality.read("1"), str | float)
    except UnreadableItem:
        return False


def split_of(source: Source, settings: DataSettings) -> Split:
    """How items are divided: as the recipe says, else as suits the source; a stream always by position."""
    split = settings.split
    if source.stream and split.by == "hash":
        return split.model_copy(update={"by": "position"})
    if split == Split() and source.split:
        return Split.parse(source.split, f"{source.name}: split")
    return split


def assign(
    source: Source, settings: DataSettings, split: Split, modality: Modality, conditions: Mapping[str, Modality]
) -> Roles:
    """Find and check every column, and tell the source which of them name files.

    Raises:
        DataError: a column that is not there, with the nearest matches; or none that fits the modality.
        InvalidRecipe: a stream with conditions or extras.
    """
    if source.stream and (settings.condition or settings.extra):
        raise InvalidRecipe(
            "a single text has no conditions or extras",
            given=[*settings.condition, *settings.extra],
            cure="use a table with a column for each",
        )
    extras: dict[str, str] = {name: section.column or name for name, section in settings.extra.items()}
    columns = {name: settings.condition[name].column or name for name in conditions}
    given = "split" if split.by == "given" else None
    taken = [*columns.values(), *extras.values(), *(name for name in (split.group, given) if name)]
    source.check_columns([*taken, *([settings.content] if settings.content else [])])
    files = [columns[name] for name, condition in conditions.items() if not holds_text(condition)]
    row = modality.columns_of(source.columns, settings.content)
    if row:
        use_files(source, files)
        return Roles(row[0], columns, extras, split.group, given, row)
    target = settings.content or source.content or _fitting_column(source, modality, taken)
    named = [target, *([extras["rejected"]] if "rejected" in extras else [])]
    use_files(source, [*files, *([] if holds_text(modality) else named)])
    return Roles(target, columns, extras, split.group, given)


def _fitting_column(source: Source, modality: Modality, taken: Sequence[str]) -> str:
    """The column called ``content``, or else the first whose first values the modality reads, mostly."""
    candidates = [name for name in source.columns if name not in taken]
    if "content" in candidates:
        return "content"
    use_files(source, [] if holds_text(modality) else candidates)
    head = [record.values for record in itertools.islice(source.records(), _HEAD) if not isinstance(record, Problem)]
    for name in candidates:
        readable = sum(_reads(modality, values.get(name)) for values in head)
        if head and 2 * readable > len(head):
            return name
    raise DataError(
        f"{source.name} has no column that the modality can read",
        given=list(source.columns),
        cure="name the target's column in data.content, or check the modality",
    )


def _reads(modality: Modality, value: object) -> bool:
    if value is None or (isinstance(value, str) and not value.strip()):
        return False
    if holds_text(modality) and not isinstance(value, str):
        return False
    try:
        modality.read(value)
    except UnreadableItem:
        return False
    return True
