"""What a recipe's ``model.start`` and ``model.parts`` refer to: weights to start from, and frozen models beside it."""

from __future__ import annotations

import torch

from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import Family, Sampling, require
from miaobi.models.codec import PartCodec
from miaobi.models.folder import load
from miaobi.models.model import Model
from miaobi.recipe import Recipe

_RUN = "run:"


def open_parts(recipe: Recipe) -> dict[str, PartCodec]:
    """The model behind each of ``model.parts``, frozen.

    Raises:
        Unsupported: another kind of reference than ``run:PATH``.
        RunFolderError: no model there.
    """
    return {name: PartCodec(_model(said, f"model.parts.{name}")) for name, said in recipe.model.parts.items()}


def open_supplies(recipe: Recipe) -> dict[str, Model]:
    """The model behind each of ``supply``: what makes a condition when generating.

    Raises:
        InvalidRecipe: there is no such condition.
        Unsupported: another kind of reference than ``run:PATH``, or a model that makes nothing.
        RunFolderError: no model there.
    """
    for name in recipe.supply:
        if name not in recipe.data.condition:
            raise InvalidRecipe("supply names no condition", given=name, allowed=list(recipe.data.condition))
    supplies = {name: _model(said, f"supply.{name}") for name, said in recipe.supply.items()}
    for name, supplier in supplies.items():
        require(supplier.family, Sampling, f"supplying {name}")
    return supplies


def start_from(family: Family, reference: str) -> None:
    """Copy the weights of ``run:PATH`` into a freshly built family of the same shape, or one that can use them.

    Raises:
        Unsupported: another kind of reference, or a model of another shape; the first differences are named.
        RunFolderError: no model there.
    """
    ours, theirs = family.state_dict(), family.weights_from(_model(reference, "model.start").family)
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


def _model(reference: str, where: str) -> Model:
    if not reference.startswith(_RUN):
        raise Unsupported(f"{where} cannot refer to this", given=reference, allowed="run:PATH")
    return load(reference.removeprefix(_RUN))
