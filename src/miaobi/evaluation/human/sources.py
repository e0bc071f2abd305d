"""Where the items of a study come from: models, which make them, and folders, which hold them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miaobi import modalities, models
from miaobi.data import prepare
from miaobi.errors import DataError, InvalidRecipe, UnreadableItem, Unsupported
from miaobi.evaluation.context import Context
from miaobi.evaluation.human.records import REAL
from miaobi.evaluation.quiet import undisturbed
from miaobi.evaluation.scoring import recipe_of
from miaobi.modalities import Item, Modality

KINDS: dict[str, Mapping[str, Any]] = {
    "video": {"frames": 256},
    "music": {},
    "speech": {"rate": 48_000},
    "image": {},
    "text": {},
}
"""What can be rated, and how files of it are read; of two kinds with as many files in a folder, the first."""
_MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class Candidates:
    """Items of one system, of which the study takes some.

    Attributes:
        system: its name; ``real`` for held-out data.
        source: where they came from.
        modality: shows and writes them.
        items: canonical items.
        given: what each was made from, as text; empty where nothing was, or where there is no text of it.
        keys: the same where it is text, else which held-out item it came from; ``None`` where there were no conditions.
    """

    system: str
    source: str
    modality: Modality
    items: list[Item]
    given: list[str]
    keys: list[str] | None = None


def gather(
    sources: Sequence[str | Path],
    count: int,
    *,
    real: str | Path | None = None,
    data: str | None = None,
    seed: int = 0,
    controls: Mapping[str, Any] | None = None,
) -> list[Candidates]:
    """At most ``count`` items of each source, and last those of real data where a model or ``real`` says what that is.

    Args:
        sources: run folders, model folders, or folders of files.
        count: how many of each.
        real: a folder of real items, in place of the first model's held-out ones.
        data: another data source than the models' own.
        seed: of what models make.
        controls: the families' sampling controls.

    Raises:
        RequestError: a source without items, items of different kinds, or of a kind that cannot be rated.
    """
    names = _names(sources)
    folders = [_has_no_model(source) for source in sources]
    found: list[Candidates] = []
    held: Candidates | None = None
    for source, name, is_folder in zip(sources, names, folders, strict=True):
        if is_folder:
            found.append(_from_folder(Path(source), name, count))
            continue
        made, beside = _from_model(str(source), name, count, data, seed, controls)
        found.append(made)
        held = held or beside
    if real is not None:
        held = _from_folder(Path(real), REAL, count)
    together = [*found, *([held] if held else [])]
    _check_alike(together)
    return together


def aligned(found: Sequence[Candidates]) -> bool:
    """Whether all systems have made their items from the same conditions.

    Raises:
        DataError: models with conditions that were made from different ones.
    """
    keys = [one.keys for one in found]
    if any(one is None for one in keys):
        return False
    if any(one != keys[0] for one in keys):
        raise DataError(
            "the models' conditions come from different held-out items, so what they made does not compare",
            cure="name one source for all with --data, or compare models of one data section",
        )
    return True


def _from_model(
    source: str, name: str, count: int, data: str | None, seed: int, controls: Mapping[str, Any] | None
) -> tuple[Candidates, Candidates]:
    model = models.load(source)
    kind = model.modality.shown.name
    if kind not in KINDS:
        raise Unsupported("people cannot rate this kind of item", given=kind, allowed=KINDS)
    prepared = prepare(recipe_of(model, data), fitted=(model.modality, model.conditions))
    context = Context(model, prepared, count=count, seed=seed, controls=controls)
    with undisturbed(model.family):
        items = list(context.generated_items)
    given, keys = _given(context)
    made = Candidates(name, source, context.modality, items, given, keys)
    where = f"{prepared.source} ({context.held.part})"
    return made, Candidates(REAL, where, context.modality, context.real_items, given, keys)


def _given(context: Context) -> tuple[list[str], list[str] | None]:
    """The conditions of each row as lines ``NAME: VALUE``, and its key."""
    lines: list[list[str]] = [[] for _ in context.rows]
    told = True
    for name, modality in context.model.conditions.items():
        for row, item in zip(lines, context.held.condition_items(name, context.rows), strict=True):
            text = None if item is None else modality.shown.text(item)
            told = told and (item is None or text is not None)
            row.extend([f"{name}: {text}"] if text else [])
    given = ["\n".join(row) for row in lines]
    if not context.model.conditions:
        return given, None
    return given, given if told else [str(id_) for id_ in context.held.ids[context.rows].tolist()]


def _from_folder(folder: Path, name: str, count: int) -> Candidates:
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))[:_MOST_FILES]
    suffixes = Counter(path.suffix.lower() for path in paths)
    made = {kind: modalities.create({"name": kind, **options}) for kind, options in KINDS.items()}
    counts = {kind: sum(suffixes[suffix] for suffix in modality.extensions) for kind, modality in made.items()}
    kind = max(counts, key=counts.__getitem__)
    if not counts[kind]:
        raise DataError("the folder has neither a model nor files to rate", given=str(folder), allowed=KINDS)
    modality = made[kind]
    chosen = [path for path in paths if path.suffix.lower() in modality.extensions]
    items: list[Item] = []
    for path in chosen:
        if len(items) == count:
            break
        try:
            items.append(modality.read(path))
        except UnreadableItem as error:
            warnings.warn(f"left out {path.name}: {error.message}", stacklevel=2)
    if not items:
        raise DataError("no file of the folder can be read", given=str(folder))
    return Candidates(name, str(folder), modality, items, [""] * len(items))


def _has_no_model(source: str | Path) -> bool:
    folder = Path(source)
    if not folder.is_dir():
        return False
    return not any((folder / name).exists() for name in ("model.json", "model", "recipe.yaml"))


def _names(sources: Sequence[str | Path]) -> list[str]:
    """Short names, whole paths where two would be the same.

    Raises:
        InvalidRecipe: a source named twice.
    """
    whole = [str(source).rstrip("/") for source in sources]
    if len(set(whole)) < len(whole):
        raise InvalidRecipe("a source is named twice", given=whole, cure="name each once")
    short = [Path(name.removesuffix("/model")).name for name in whole]
    alike = len(set(short)) < len(short) or REAL in short
    return whole if alike else short


def _check_alike(found: Sequence[Candidates]) -> None:
    kinds = {one.system: one.modality.name for one in found}
    if len(set(kinds.values())) > 1:
        raise DataError("the items are of different kinds", given=kinds, cure="rate one kind at a time")
