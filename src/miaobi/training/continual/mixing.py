"""A refresh's data: the new items that are new, and a fixed sample of all that earlier versions were trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from miaobi import models
from miaobi.data import Dataset, Prepared, Report, prepare
from miaobi.data.cache import Cache, code_version
from miaobi.data.catalog import cache_folder
from miaobi.data.known import Known, find_known
from miaobi.data.mixture import Joined, Subset, sample
from miaobi.data.reading import PARTS
from miaobi.data.sources import digest
from miaobi.data.windows import WindowDataset
from miaobi.errors import CorruptFile, DataError
from miaobi.models import Model, PartCodec
from miaobi.recipe import Recipe
from miaobi.training.continual.chain import led
from miaobi.training.continual.telling import lines, unknown_in
from miaobi.types import Spec

Log = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Domain:
    """What one version was trained on that no earlier one knew.

    Attributes:
        prepared: its parts, without what was known before.
        dropped: by part, how many items were known before.
        learnt: the reference of that version's model; ``None`` while it is trained.
    """

    prepared: Prepared
    dropped: Mapping[str, int]
    learnt: str | None = None


@dataclass(frozen=True, slots=True)
class History:
    """The data of a version and of all before it.

    Attributes:
        old: of the earlier versions, oldest first; empty for a run's own model.
        own: of the version.
        fingerprint: of all of it, and of how it is mixed.
    """

    old: tuple[Domain, ...]
    own: Domain
    fingerprint: str


def open_refresh(recipe: Recipe, log: Log | None = None) -> Prepared:
    """New items and a sample of old ones, as the data of one run.

    Everything is encoded by the old model's fitted modalities. ``refresh.replay`` of the training items are old ones,
    the same in every epoch; validation is mixed alike, so that the best checkpoint is not the one that forgot most.
    The test part is the new data's.

    Args:
        recipe: of a refresh, as `led` spells it.
        log: told what was dropped, replayed and unknown.

    Raises:
        DataError: nothing of the new data is new, or the old data is not what it was.
        RequestError: as for `prepare`.
    """
    history = history_of(recipe, log)
    new, olds = history.own.prepared, [domain.prepared for domain in history.old]
    for one in (new, *olds):
        # The gates need held-out items of all data, and it is better said before the training than after it.
        one.part("test")
    share, seed = recipe.refresh.replay, recipe.seed
    train, validation = (
        _mixed(getattr(new, part), [getattr(old, part) for old in olds], share, seed) for part in PARTS[:2]
    )
    known, pool = history.own.dropped, sum(len(old.train) for old in olds)
    told = {"new": len(train[0]), "replayed": len(train[1]), "old": pool, "dropped": dict(known), **unknown_in(new)}
    for line in lines(told, share):
        (log or (lambda line: None))(line)
    return replace(
        new,
        train=Joined(train),
        validation=Joined(validation),
        fingerprint=history.fingerprint,
        specs=_longest([new, *olds]),
        replayed=train[-1].ids if share else None,
        report=Report({**new.report.data, "refresh": told}),
    )


def history_of(recipe: Recipe, log: Log | None = None) -> History:
    """The data of a refresh and of all before it, encoded by the model that is refreshed.

    Raises:
        as `open_refresh`.
    """
    return _history(recipe, models.load(str(recipe.refresh.parent)), log)


def replay_count(new: int, share: float) -> int:
    """Old items that make ``share`` of them and of ``new`` new ones."""
    return round(new * share / (1 - share))


def _history(recipe: Recipe, model: Model, log: Log | None) -> History:
    own = _prepared(recipe, model, log)
    reference = recipe.refresh.parent
    if reference is None:
        return History((), Domain(own, {}), own.fingerprint)
    info = models.info_of(reference)
    place = models.resolve(reference).parent
    before = _history(led(_recipe_in(info, place), place), model, None)
    _require_same(info, before.fingerprint, place)
    old = (*before.old, replace(before.own, learnt=reference))
    _require_alike(own, old[0].prepared)
    domain = _without_known(own, [one.prepared for one in old], near=recipe.data.clean.duplicates == "near")
    mixing = [before.fingerprint, own.fingerprint, recipe.refresh.replay, recipe.seed]
    return History(old, domain, digest(mixing))


def _prepared(recipe: Recipe, model: Model, log: Log | None) -> Prepared:
    parts = {name: PartCodec(part) for name, part in model.parts.items()}
    return prepare(recipe, fitted=(model.modality, model.conditions), parts=parts, log=log)


def _recipe_in(info: Mapping[str, Any], place: Path) -> Recipe:
    if not isinstance(info.get("recipe"), Mapping) or not isinstance(info.get("data"), Mapping):
        raise CorruptFile(f"the model in {place} does not say what it was trained on")
    return Recipe.load(info["recipe"])


def _require_same(info: Mapping[str, Any], found: str, place: Path) -> None:
    if info["data"].get("fingerprint") != found:
        raise DataError(
            "the old data is not what the model was trained on, so its held-out items are not known",
            given=f"fingerprint {found} of {info['data'].get('source')}",
            allowed=f"{info['data'].get('fingerprint')}, as {place} says",
            cure="put the old data back as it was, or train anew on all data",
        )


def _require_alike(new: Prepared, old: Prepared) -> None:
    given, wanted = (
        "one long text" if isinstance(one.train, WindowDataset) else "separate items" for one in (new, old)
    )
    if given != wanted:
        raise DataError("the new data is of another kind than the old", given=given, allowed=wanted)


def _without_known(new: Prepared, old: Sequence[Prepared], *, near: bool) -> Domain:
    known = _known(new, old, near=near)
    kept = {part: known.rows(getattr(new, part)) for part in PARTS}
    dropped = {part: len(getattr(new, part)) - len(rows) for part, rows in kept.items()}
    if not len(kept["train"]) or not (len(kept["validation"]) or len(kept["test"])):
        counts = [f"{len(rows)} of {len(getattr(new, part))} {part}" for part, rows in kept.items()]
        raise DataError(
            "too little of the new data is new",
            given=f"{', '.join(counts)} items",
            cure="give data that the model was not trained on, with something held out",
        )
    parts = {part: Subset(getattr(new, part), rows) for part, rows in kept.items()}
    return Domain(replace(new, **parts), dropped)  # type: ignore[arg-type]


def _known(new: Prepared, old: Sequence[Prepared], *, near: bool) -> Known:
    """`find_known`, kept on disk: comparing everything takes as long as preparing it."""
    store = Cache(cache_folder())
    key = digest(["known", code_version(), new.fingerprint, [one.fingerprint for one in old], near])
    manifest = store.find(key)
    if manifest is None:
        found = find_known(new, old, near=near)
        manifest = {name: sorted(getattr(found, name)) for name in Known.__dataclass_fields__}
        with store.workspace() as folder:
            store.publish(folder, key, manifest)
    return Known(*(frozenset(manifest[name]) for name in Known.__dataclass_fields__))


def _mixed(new: Dataset, old: Sequence[Dataset], share: float, seed: int) -> list[Dataset]:
    pool = Joined(old)
    return [new, sample(pool, replay_count(len(new), share), seed)]


def _longest(data: Sequence[Prepared]) -> dict[str, Spec]:
    """The conditions' specs, each as long as the longest anywhere."""
    return {
        name: replace(spec, max_length=max(one.specs[name].max_length for one in data))
        for name, spec in data[0].specs.items()
    }
