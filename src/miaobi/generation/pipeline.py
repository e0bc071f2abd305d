"""`generate`: sample a model and write what it made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from miaobi.errors import InvalidRecipe, RunFolderError, Unsupported
from miaobi.families import Sampling, require
from miaobi.generation.editing import Edit, apply_edit, read_edit
from miaobi.generation.engines import DecodingEngine, open_engine
from miaobi.generation.request import check_names, condition_fields, prompt_parts, repeat_prefix
from miaobi.generation.supply import asked_of, supplied
from miaobi.modalities import Item
from miaobi.models import Model, opened
from miaobi.sampling.noise import seeds_of
from miaobi.types import Samples

MOST_ITEMS = 100_000
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Generated:
    """One generated item.

    Attributes:
        item: the modality's canonical value.
        text: the item as text where that makes sense.
        path: the main file written; ``None`` without an output folder.
        paths: every file written.
        seed: with the same model, request and machine settings, gives this item again (as ``seed`` and ``index``).
        index: position in the request.
    """

    item: Item
    text: str | None
    path: Path | None
    paths: tuple[Path, ...]
    seed: int
    index: int


def generate(
    model: Model | str | Path,
    *,
    prompt: str | None = None,
    conditions: Mapping[str, Any] | None = None,
    controls: Mapping[str, Any] | None = None,
    n: int = 1,
    seed: int = 0,
    out: Path | str | None = None,
    edit: Path | str | None = None,
    mask: Path | str | None = None,
    engine: str | DecodingEngine = "pytorch",
) -> list[Generated]:
    """Make ``n`` items.

    Args:
        model: a loaded model, or what `miaobi.load` takes.
        prompt: the start of a text (or a MIDI file's path for music), or the value of a model's only text condition.
        conditions: values by condition name: text, a class, or a file's path.
        controls: the family's sampling controls, e.g. ``{"temperature": 0.8}``.
        n: how many, 1 to 100,000; item i depends on ``seed`` and i only.
        seed: 0 to 2**62.
        out: folder for the files; created; ``None`` writes none.
        edit: a file to edit: to restore or continue, as the model was trained to, or to fill in. A text marks its gaps:
            each ``_`` or ``□`` is one token to be made, a character where tokens are characters; for a model that fills
            gaps of any length (the family infilling), one ``□`` is the whole gap.
        mask: a file that is bright where the edited one is to be made anew; the rest stays. For a text with gaps of
            known length: a text as long, with those marks at the places that are to be made anew.
        engine: what computes: ``pytorch``, or ``llama.cpp`` for one stream of text at a time on a processor, which
            follows fewer controls; or an engine that is open (`miaobi.generation.engines.open_engine`).

    Raises:
        RequestError: a condition, control or number that the model cannot take, or an engine that it cannot run on.
    """
    check_numbers(n, seed)
    model = opened(model)
    if edit is None:
        require(model.family, Sampling, "generating")
    chosen = type(model.family).Controls.parse(controls, "control")
    drawing = open_engine(engine, model)
    drawing.require(chosen)
    if edit is not None and not drawing.edits:
        raise Unsupported("only the engine pytorch edits files", given=str(engine), cure="leave the engine out")
    known = asked_of(model)
    check_names(conditions or {}, known)
    prefix, given = prompt_parts(model, prompt, conditions or {}, known)
    edited = read_edit(model, edit, mask)
    if edited is not None and prefix is not None:
        raise InvalidRecipe("the edited file says how the item begins", given=prompt, cure="leave the prompt out")
    starts = _Start(given, prefix, edited)
    folder = output_folder(out)
    made: list[Generated] = []
    for start in range(0, n, _CHUNK):
        indices = range(start, min(n, start + _CHUNK))
        with torch.no_grad():
            samples = _sample(drawing, starts, chosen, seeds_of(seed, indices)).to("cpu")
        for index, array in zip(indices, model.modality.split_batch(samples.values, samples.lengths), strict=True):
            item = edited.item(model, array, chosen) if edited else model.item(array, chosen, prefix)
            made.append(_finish(model, item, folder, seed, index))
    return made


@dataclass(frozen=True, slots=True)
class _Start:
    given: Mapping[str, Any]
    prefix: np.ndarray | None
    edited: Edit | None


def _sample(drawing: DecodingEngine, start: _Start, controls: Any, seeds: Tensor) -> Samples:
    model, rows = drawing.model, len(seeds)
    own = {name: value for name, value in start.given.items() if name in model.conditions}
    seeds = seeds.to(model.family.device)
    given = condition_fields(model, own, rows) | supplied(model, start.given, seeds)
    conditions = {name: field.to(seeds.device) for name, field in given.items()}
    if start.edited is not None:
        return apply_edit(model, start.edited, conditions, controls, seeds)
    prefix = repeat_prefix(model.modality, start.prefix, rows)
    begun = None if prefix is None else prefix.to(seeds.device)
    return drawing.sample(conditions, prefix=begun, controls=controls, seeds=seeds)


def _finish(model: Model, item: Item, folder: Path | None, seed: int, index: int) -> Generated:
    paths = tuple(model.modality.write(item, folder / f"{index:05d}")) if folder else ()
    return Generated(item, model.modality.text(item), paths[0] if paths else None, paths, seed, index)


def output_folder(out: Path | str | None) -> Path | None:
    """The folder to write to, made where it is not there; ``None``: nothing is written.

    Raises:
        RunFolderError: it cannot be written to.
    """
    if out is None:
        return None
    try:
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, TypeError) as error:
        raise RunFolderError(f"cannot write to the output folder: {error}", given=str(out)) from None
    return folder


def check_numbers(n: int, seed: int) -> None:
    """Refuse a number of items or a seed that is out of range."""
    for what, number in (("number of items", n), ("seed", seed)):
        if not isinstance(number, Integral) or isinstance(number, bool):
            raise InvalidRecipe(f"the {what} is not a whole number", given=number, cure="give one")
    if not 1 <= n <= MOST_ITEMS:
        raise InvalidRecipe("the number of items is out of range", given=n, allowed=f"1 to {MOST_ITEMS}")
    if not 0 <= seed < 2**62:
        raise InvalidRecipe("the seed is out of range", given=seed, allowed="0 to 2**62 - 1")
