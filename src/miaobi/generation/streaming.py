"""`stream`: the text of one item while a model writes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from miaobi.families import Decoding, require
from miaobi.generation.pipeline import check_numbers
from miaobi.generation.request import check_names, condition_fields, prompt_parts, repeat_prefix
from miaobi.generation.supply import asked_of, supplied
from miaobi.models import Model, opened
from miaobi.sampling.noise import seeds_of


def stream(
    model: Model | str | Path,
    *,
    prompt: str | None = None,
    conditions: Mapping[str, Any] | None = None,
    controls: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """Pieces of text as they are drawn; arguments as for `generate`.

    With the prompt before them, the pieces joined are the text of item 0 of `generate`.

    Raises:
        RequestError: as `generate`, when called; and for a model that does not write text token by token.
    """
    check_numbers(1, seed)
    model = opened(model)
    family = require(model.family, Decoding, "streaming")
    chosen = type(model.family).Controls.parse(controls, "control")
    known = asked_of(model)
    check_names(conditions or {}, known)
    prefix, given = prompt_parts(model, prompt, conditions or {}, known)
    own = {name: value for name, value in given.items() if name in model.conditions}
    seeds = seeds_of(seed, range(1))
    told = condition_fields(model, own, 1) | supplied(model, given, seeds)
    fields = {name: field.to(model.family.device) for name, field in told.items()}
    start = repeat_prefix(model.modality, prefix, 1)
    pieces: Iterator[str] = family.engine(1).stream(fields, prefix=start, controls=chosen, seed=int(seeds[0]))
    return pieces
