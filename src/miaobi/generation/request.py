"""What a caller wrote, as the tensors that a family's sampler takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from miaobi.errors import InvalidRecipe, UnknownName, Unsupported
from miaobi.modalities import Modality
from miaobi.models import Model
from miaobi.types import Field, Form, Spec


def check_names(given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    """Refuse a condition that a model does not know.

    Raises:
        InvalidRecipe: not a mapping.
        UnknownName: with the nearest matches.
    """
    if not isinstance(given, Mapping):
        raise InvalidRecipe("conditions are not a mapping of names to values", given=given, allowed=known or "none")
    for name in given:
        if name not in known:
            raise UnknownName("condition", name, known, cure=None if known else "the model has none")


def condition_fields(model: Model, given: Mapping[str, Any], rows: int) -> dict[str, Field]:
    """Every condition of the model as a field of ``rows`` equal rows; absent where nothing was given.

    Raises:
        DataError: a value that the condition's modality cannot read.
    """
    return {
        name: _field(model.conditions[name], given[name], rows) if name in given else absent(spec, rows)
        for name, spec in model.family.conditions.items()
    }


def absent(spec: Spec, rows: int) -> Field:
    """A condition that was not given, for ``rows`` items."""
    present = torch.zeros(rows, dtype=torch.bool)
    if spec.form is Form.TENSOR:
        return Field(torch.zeros(rows, spec.channels, *spec.space), present=present)
    if spec.form is Form.LABEL:
        return Field(torch.zeros(rows, dtype=torch.int64), present=present)
    lengths = torch.ones(rows, dtype=torch.int64)
    return Field(torch.zeros(rows, 1, dtype=torch.int64), lengths=lengths, present=present)


def prompt_parts(
    model: Model, prompt: str | None, given: Mapping[str, Any], known: Mapping[str, Modality]
) -> tuple[np.ndarray | None, dict[str, Any]]:
    """What a prompt means: the start of a token target, or the value of the only text among the ``known`` conditions.

    Returns:
        The encoded prefix (or ``None``) and the conditions.

    Raises:
        Unsupported: the model has no use for a prompt.
        InvalidRecipe: the prompt and ``--condition`` name the same thing.
        DataError: a prompt that is empty, or that the model's vocabulary cannot write.
    """
    conditions = dict(given)
    if prompt is None:
        return None, conditions
    if model.family.target.form is Form.TOKENS and model.modality.shown is model.modality:
        return model.modality.encode_prompt(model.modality.read(_raw(model.modality, prompt))), conditions
    texts = [name for name, modality in known.items() if modality.name == "text"]
    if len(texts) != 1:
        raise Unsupported("this model takes no prompt", given=prompt, cure="use --condition NAME=VALUE")
    if texts[0] in conditions:
        raise InvalidRecipe(f"the prompt and the condition {texts[0]} are the same thing", cure="give one of them")
    return None, {**conditions, texts[0]: prompt}


def repeat_prefix(modality: Modality, prefix: np.ndarray | None, rows: int) -> Field | None:
    """An encoded prefix for each of ``rows`` items."""
    return None if prefix is None else _repeat(modality.collate([prefix]), rows)


def _field(modality: Modality, value: Any, rows: int) -> Field:
    array = modality.encode(modality.read(_raw(modality, value)))
    field = _repeat(modality.collate([array]), rows)
    return replace(field, present=torch.ones(rows, dtype=torch.bool))


def _repeat(field: Field, rows: int) -> Field:
    return field.map(lambda tensor: tensor.expand(rows, *tensor.shape[1:]).contiguous())


def _raw(modality: Modality, value: Any) -> Any:
    # A string is content for text and labels, and the path of a file for everything else.
    is_file = modality.extensions and modality.name not in ("text", "label")
    return Path(value) if is_file and isinstance(value, str) else value
