"""A model folder: ``model.json``, ``model.safetensors``, ``modality/``, ``conditions/NAME/`` and ``parts/NAME/``.

It is all that ``generate``, ``evaluate`` and ``serve`` need, and nothing in it is executable.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from miaobi import families, modalities, pretrained
from miaobi.errors import CorruptFile, InvalidRecipe, RunFolderError, SaveFailed, Unsupported
from miaobi.modalities import Modality, Represented, Viewed, views
from miaobi.models.codec import PartCodec
from miaobi.models.construct import describe, rebuild
from miaobi.models.model import Model
from miaobi.models.public import open_public
from miaobi.models.versions import in_use, model_of
from miaobi.models.weights import load_into, read_tensors, tensors_of, write_tensors
from miaobi.networks._cpu import fast_bfloat16

FORMAT = 1
"""Version of the folder's layout; a newer one is refused."""
_DEEPEST = 8
"""Parts of parts that are followed."""


def save(model: Model, folder: Path | str) -> None:
    """Write a model folder at once: a reader sees the old one or the new one, never half of one.

    Files of others in an existing folder (the model card) are carried over.

    Raises:
        SaveFailed: the disk is full or not writable; what was there is intact.
    """
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            _write(model, fresh)
            _carry_over(folder, fresh)
            _replace(folder, fresh)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise SaveFailed(f"could not write the model folder {folder}: {error}", cure="free some disk space") from None


def load(source: Path | str, *, depth: int = 0) -> Model:
    """Read a model from a run folder or a model folder, or a public one; ``depth``: of models that it is a part of.

    Raises:
        RunFolderError: nothing there, or written by a newer version.
        CorruptFile: cut short or altered.
        Unsupported: a kind of source that this version cannot load.
    """
    if pretrained.is_public(str(source)):
        return open_public(str(source))
    folder = resolve(source)
    if depth > _DEEPEST:
        raise CorruptFile(f"{folder} has parts of parts of parts", allowed=f"{_DEEPEST} levels")
    saved = _read_json(folder / "model.json")
    if saved.get("format", 0) > FORMAT:
        raise RunFolderError(
            "the model folder was written by a newer version",
            given=f"format {saved['format']} in {folder}",
            allowed=f"up to {FORMAT}",
            cure="update miaobi",
        )
    try:
        return _load(folder, saved, depth)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{folder / 'model.json'} is not a model description: {error!r}") from None


def info_of(source: Path | str) -> dict[str, Any]:
    """What a saved model says of its training, without reading its weights.

    Raises:
        RunFolderError: nothing there.
        CorruptFile: its description is damaged.
        Unsupported: a kind of source that this version cannot load.
    """
    folder = resolve(source)
    found = _read_json(folder / "model.json").get("info")
    if not isinstance(found, dict):
        raise CorruptFile(f"{folder / 'model.json'} does not say how the model was trained")
    return found


def opened(model: Model | Path | str) -> Model:
    """A model as it is, or read and put where it computes fastest: on a GPU where there is one.

    Raises:
        as `load`.
    """
    return model if isinstance(model, Model) else load(model).to("cuda" if torch.cuda.is_available() else "cpu")


def resolve(source: Path | str) -> Path:
    """The model folder that a source means; of a run, that of the version in use.

    Raises:
        RunFolderError: nothing there.
        CorruptFile: the run does not say clearly which version is in use.
        Unsupported: ``starter:`` and ``hub:`` sources.
    """
    text = str(source)
    if text.startswith(("starter:", "hub:")):
        raise Unsupported("a public model has no folder of ours", given=text, allowed="a run folder or a model folder")
    folder = Path(text.removeprefix("run:"))
    for candidate in (folder, model_of(folder, in_use(folder))):
        if (candidate / "model.json").is_file():
            return candidate
    raise RunFolderError(
        "no model here",
        given=text,
        allowed="a run folder or a model folder",
        cure=f"finish the run first: miaobi train {text} --resume"
        if (folder / "recipe.yaml").exists()
        else "check the path",
    )


def _write(model: Model, folder: Path) -> None:
    family = model.family.shipped()
    write_tensors(tensors_of(family), folder / "model.safetensors")
    description = {
        "format": FORMAT,
        **describe(family),
        "modality": _describe_modality(model.modality),
        "condition_modalities": {name: _describe_condition(model, name) for name in model.conditions},
        "parts": sorted(model.parts),
        "supplies": sorted(model.supplies),
        "sha256": _sha256(folder / "model.safetensors"),
        "info": model.info,
    }
    (folder / "modality").mkdir()
    model.modality.save(folder / "modality")
    for name, modality in model.conditions.items():
        if modality is not model.modality:
            (folder / "conditions" / name).mkdir(parents=True)
            modality.save(folder / "conditions" / name)
    for kind, others in (("parts", model.parts), ("supplies", model.supplies)):
        for name, other in others.items():
            place = _inside(folder / kind, name)
            place.mkdir(parents=True)
            _write(other, place)
    text = json.dumps(description, ensure_ascii=False, indent=1, sort_keys=False)
    (folder / "model.json").write_text(text, encoding="utf-8")


def _load(folder: Path, saved: Mapping[str, Any], depth: int) -> Model:
    parts = {name: load(_inside(folder / "parts", name), depth=depth + 1) for name in saved.get("parts", ())}
    supplies = {name: load(_inside(folder / "supplies", name), depth=depth + 1) for name in saved.get("supplies", ())}
    codecs = {name: PartCodec(part) for name, part in parts.items()}
    modality = _load_modality(saved["modality"], folder / "modality", codecs)
    conditions = {
        name: _load_condition(entry, modality, _inside(folder / "conditions", name), codecs)
        for name, entry in saved["condition_modalities"].items()
    }
    weights = folder / "model.safetensors"
    if _sha256(weights) != saved["sha256"]:
        raise CorruptFile(f"{weights} is cut short or altered", cure="copy the folder again or save the model again")
    beside = {name: part.family for name, part in parts.items()}
    family = rebuild(families.find(saved["family"]), saved, beside)
    load_into(family, read_tensors(weights), str(weights))
    info = dict(saved.get("info", {}))
    family.precision = _precision(info)
    family.compiling = _compiling(family.precision)
    return Model(family.eval(), modality, conditions, info, parts, supplies)


def _compiling(precision: torch.dtype) -> bool | None:
    """As ``MIAOBI_COMPILE`` says; by default where it pays back and rounds alike, so in float32.

    Raises:
        InvalidRecipe: it says something else.
    """
    said = os.environ.get("MIAOBI_COMPILE", "")
    settings = {"": None if precision is torch.float32 else False, "auto": None, "on": True, "off": False}
    if said not in settings:
        raise InvalidRecipe("MIAOBI_COMPILE is unknown", given=said, allowed="auto, on, off", cure="unset it")
    return settings[said]


def _precision(info: Mapping[str, Any]) -> torch.dtype:
    """What the run measured to be fastest, where this machine has it too."""
    recorded = info.get("recipe", {}).get("train", {}).get("precision")
    return torch.bfloat16 if recorded == "bfloat16" and fast_bfloat16() else torch.float32


def _describe_modality(modality: Modality) -> dict[str, Any]:
    if isinstance(modality, Represented):
        return {"part": modality.part, "kind": modality.kind}
    if isinstance(modality, Viewed):
        return {"view": modality.section}
    return {"name": modality.name, "config": modality.config.to_json()}


def _describe_condition(model: Model, name: str) -> dict[str, Any]:
    modality = model.conditions[name]
    return {"shared": True} if modality is model.modality else _describe_modality(modality)


def _load_modality(entry: Mapping[str, Any], folder: Path, codecs: Mapping[str, PartCodec]) -> Modality:
    modality: Modality
    if "part" in entry:
        modality = Represented(codecs[entry["part"]], entry["part"], entry["kind"])
    else:
        modality = modalities.create({"name": entry["name"], **entry["config"]}, "model.json: modality")
    modality.load(folder)
    return modality


def _load_condition(
    entry: Mapping[str, Any], target: Modality, folder: Path, codecs: Mapping[str, PartCodec]
) -> Modality:
    if entry.get("shared"):
        return target
    if "view" in entry:
        return Viewed(target, views.create(entry["view"], "model.json: view").bind(codecs), dict(entry["view"]))
    return _load_modality(entry, folder, codecs)


def _inside(folder: Path, name: str) -> Path:
    path = (folder / name).resolve()
    if folder.resolve() not in path.parents:
        raise CorruptFile("a name in model.json leaves the model folder", given=name)
    return path


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFile(f"{path} cannot be read: {error}") from None
    if not isinstance(data, dict):
        raise CorruptFile(f"{path} is not a model description")
    return data


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise CorruptFile(f"{path} cannot be read: {error}") from None
    return digest.hexdigest()


def _carry_over(old: Path, fresh: Path) -> None:
    for path in old.glob("*.md") if old.is_dir() else ():
        shutil.copy2(path, fresh / path.name)


def _replace(folder: Path, fresh: Path) -> None:
    fresh.chmod(0o755)
    if not folder.exists():
        fresh.replace(folder)
        return
    doomed = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
    folder.replace(doomed / "model")
    fresh.replace(folder)
    shutil.rmtree(doomed, ignore_errors=True)
