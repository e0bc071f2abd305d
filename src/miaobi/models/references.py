"""What a recipe's ``model.start`` and ``model.parts`` refer to: weights to start from, and frozen models beside it."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from miaobi.errors import Unsupported
from miaobi.families import Family
from miaobi.models.folder import load

_RUN = "run:"


def frozen_parts(references: Mapping[str, str]) -> dict[str, Family]:
    """The family behind each ``run:PATH``.

    Raises:
        Unsupported: another kind of reference.
        RunFolderError: no model there.
    """
    return {name: _family(reference, f"model.parts.{name}") for name, reference in references.items()}


def start_from(family: Family, reference: str) -> None:
    """Copy the weights of ``run:PATH`` into a freshly built family of the same shape.

    Raises:
        Unsupported: another kind of reference, or a model of another shape; the first differences are named.
        RunFolderError: no model there.
    """
    ours, theirs = family.state_dict(), _family(reference, "model.start").state_dict()
    differing = sorted(
        name
        for name in ours.keys() | theirs.keys()
        if name not in ours or name not in theirs or ours[name].shape != theirs[name].shape
    )
    if differing:
        raise Unsupported(
            "the model to start from has another shape",
            given=f"{reference}: {len(differing)} tensors differ, the first {differing[:3]}",
            cure="use the recipe, data vocabulary and size that it was trained with",
        )
    with torch.no_grad():
        family.load_state_dict(theirs)


def _family(reference: str, where: str) -> Family:
    if not reference.startswith(_RUN):
        raise Unsupported(f"{where} cannot refer to this", given=reference, allowed="run:PATH")
    return load(reference.removeprefix(_RUN)).family
