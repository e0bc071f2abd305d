"""`prepare`: from a recipe to data sets on disk, made once and reused while nothing that they depend on changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from miaobi.data.cache import Cache, code_version, folder_digest, represented_code
from miaobi.data.catalog import cache_folder
from miaobi.data.dataset import Dataset, ItemDataset
from miaobi.data.encoding import Encoder, fit
from miaobi.data.plan import Fitted, Parts, Plan, make_plan
from miaobi.data.reading import PARTS
from miaobi.data.report import Report
from miaobi.data.reporting import item_report, stream_report
from miaobi.data.sources import digest
from miaobi.data.survey import Log, survey
from miaobi.data.text_stream import PartText, stage_text, write_parts
from miaobi.data.windows import WindowDataset
from miaobi.errors import InvalidRecipe
from miaobi.modalities import Modality, Represented
from miaobi.plugins import name_of
from miaobi.recipe import Recipe
from miaobi.types import Spec


@dataclass(frozen=True)
class Prepared:
    """Data ready for training and evaluation.

    Attributes:
        modality, conditions: fitted; a condition that shares the target's tokenizer is the target's own object.
        train, validation, test: the parts; a part whose share is 0 is empty.
        target, specs: what the target and each condition look like.
        fingerprint: of the content of every part; the same wherever it is prepared.
        source: as the recipe names it.
        licence: of the source, where it is known.
        parts: the frozen models that it was prepared with.
        replayed: ``[R]`` int64 ids of training items that are an earlier model's; ``None`` where there is none.
    """

    modality: Modality
    conditions: dict[str, Modality]
    train: Dataset
    validation: Dataset
    test: Dataset
    target: Spec
    specs: dict[str, Spec]
    report: Report
    fingerprint: str
    source: str
    licence: str | None
    parts: Parts = field(default_factory=dict)
    replayed: Tensor | None = None

    def part(self, name: str) -> Dataset:
        """A part by name; validation in place of an empty test part, which ``Dataset.part`` then says.

        Raises:
            InvalidRecipe: no such part, or it is empty.
        """
        if name not in PARTS:
            raise InvalidRecipe("no such part", given=name, allowed=PARTS)
        found: Dataset = getattr(self, name)
        if not len(found) and name == "test":
            found = self.validation
        if not len(found):
            raise InvalidRecipe(
                f"the {name} part is empty", cure="hold something out: data.split.validation, data.split.test"
            )
        return found


def prepare(
    recipe: Recipe,
    *,
    fitted: Fitted | None = None,
    parts: Parts | None = None,
    cache: Path | None = None,
    log: Log | None = None,
) -> Prepared:
    """Read, clean, remove duplicates, split, fit on training, encode; or reuse what was prepared before.

    Args:
        recipe: its ``modality`` and ``data`` sections are read.
        fitted: a model's modalities, to evaluate it on data; nothing is fitted then.
        parts: frozen models that represent the target, or that views compute through, by name.
        cache: default: ``$MIAOBI_CACHE`` or ``~/.cache/miaobi``.
        log: called with a line for each stage.

    Raises:
        RequestError: a name, option, column or amount of data that cannot work.
        FetchFailed: a catalog or hub data set could not be fetched.
        SaveFailed: the disk is full or not writable.
    """
    root = cache or cache_folder()
    say = log or (lambda line: None)
    plan = make_plan(recipe.modality, recipe.data, root, fitted, parts)
    store = Cache(root)
    key, manifest = _find(store, plan, fitted, store_key(plan))
    if manifest is None:
        with store.workspace() as folder:
            manifest = _make(plan, folder, fitted is not None, say)
            store.publish(folder, key, manifest)
    else:
        say(f"using the prepared data in {store.path(key)}")
    return _open(store.path(key), manifest, plan, fitted is not None, dict(parts or {}))


def store_key(plan: Plan) -> str:
    """Changes with everything that unfitted preparation depends on."""
    settings = plan.settings.model_dump(mode="json", exclude={"source", "augment", "representation"})
    # A view is not stored, so what it is makes no difference to what is.
    settings["condition"] = {name: settings["condition"][name] for name in plan.conditions}
    sections = {name: (name_of(type(m)), m.config.to_json()) for name, m in plan.conditions.items()}
    target = (name_of(type(plan.modality)), plan.modality.config.to_json())
    code = [code_version(), *([represented_code()] if isinstance(plan.modality, Represented) else [])]
    return digest([code, settings, plan.split.to_json(), target, sections, plan.source.fingerprint(plan.roles.columns)])


def _find(store: Cache, plan: Plan, fitted: Fitted | None, key: str) -> tuple[str, dict[str, Any] | None]:
    """The key to use and what it holds. Data fitted here with the very state that a model has serves the model too."""
    manifest = store.find(key)
    if fitted is None:
        return key, manifest
    state = _state(plan, store)
    if manifest is not None and manifest["state"] == state:
        return key, manifest
    key = digest([key, state])
    return key, store.find(key)


def _make(plan: Plan, folder: Path, is_fitted: bool, log: Log) -> dict[str, Any]:
    """Write the parts and the fitted state into ``folder``; returns the manifest."""
    made = (
        _make_stream(plan, folder, is_fitted, log) if plan.source.stream else _make_items(plan, folder, is_fitted, log)
    )
    (folder / "staged.arrow").unlink()
    _save_state(plan, folder)
    state = folder_digest(folder / "state")
    return made | {"state": state, "source": plan.settings.source, "licence": plan.source.licence}


def _make_items(plan: Plan, folder: Path, is_fitted: bool, log: Log) -> dict[str, Any]:
    found = survey(plan, folder, log)
    if not is_fitted:
        log("fitting the modalities on the training part")
        fit(plan, found)
    log("encoding")
    encoder = Encoder(plan, found, folder)
    encoder.write()
    target, specs = encoder.specs()
    report = item_report(plan, found, encoder.left_out)
    report.data["split"]["sizes"] = encoder.sizes()
    return _manifest(encoder.fingerprint(), target, specs, report)


def _make_stream(plan: Plan, folder: Path, is_fitted: bool, log: Log) -> dict[str, Any]:
    staged = stage_text(plan, folder, log)
    if not is_fitted:
        log("fitting the modality on the training part")
        plan.modality.fit(PartText(staged, "train"), stream=True)
    log("encoding")
    tokens = write_parts(plan, staged, folder)
    seeds = {part: staged.seed(part) for part in PARTS}
    report = stream_report(plan, staged, tokens)
    fingerprint = digest(sorted(seeds.items()))
    return _manifest(fingerprint, plan.modality.spec, {}, report) | {"seeds": seeds}


def _manifest(fingerprint: str, target: Spec, specs: Mapping[str, Spec], report: Report) -> dict[str, Any]:
    return {
        "fingerprint": fingerprint,
        "target": target.to_json(),
        "specs": {name: spec.to_json() for name, spec in specs.items()},
        "report": report.to_json(),
    }


def _open(folder: Path, manifest: Mapping[str, Any], plan: Plan, is_fitted: bool, used: Parts) -> Prepared:
    if not is_fitted:
        _load_state(plan, folder)
    target = Spec.from_json(manifest["target"])
    specs = {name: Spec.from_json(spec) for name, spec in manifest["specs"].items()}
    specs |= {name: view.view.spec(target) for name, view in plan.views.items()}
    parts = {part: _open_part(folder, part, manifest, plan, specs) for part in PARTS}
    return Prepared(
        modality=plan.modality,
        conditions=plan.conditions | plan.views,
        target=target,
        specs=specs,
        report=Report(dict(manifest["report"])),
        fingerprint=manifest["fingerprint"],
        source=plan.settings.source,
        licence=manifest["licence"],
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        parts=used,
    )


def _open_part(folder: Path, part: str, manifest: Mapping[str, Any], plan: Plan, specs: Mapping[str, Spec]) -> Dataset:
    path = folder / f"{part}.arrow"
    if plan.source.stream:
        context = Spec.from_json(manifest["target"]).max_length - 1
        return WindowDataset(path, part, plan.modality, context, manifest["seeds"][part])
    return ItemDataset(path, part, plan.modality, plan.conditions, specs, plan.views, plan.extras)


def _state(plan: Plan, store: Cache) -> str:
    with store.workspace() as folder:
        _save_state(plan, folder)
        return folder_digest(folder / "state")


def _save_state(plan: Plan, folder: Path) -> None:
    for name, modality in _states(plan).items():
        (folder / "state" / name).mkdir(parents=True)
        modality.save(folder / "state" / name)


def _load_state(plan: Plan, folder: Path) -> None:
    for name, modality in _states(plan).items():
        modality.load(folder / "state" / name)


def _states(plan: Plan) -> dict[str, Modality]:
    own = {f"conditions/{name}": other for name, other in plan.conditions.items() if name not in plan.shared}
    return {"modality": plan.modality} | own
