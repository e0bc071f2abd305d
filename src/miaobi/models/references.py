"""What a recipe's ``model.start`` and ``model.parts`` refer to: weights to start from, and frozen models beside it."""

from __future__ import annotations

from collections.abc import Mapping

from miaobi import pretrained
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.families import Family, Sampling, require
from miaobi.modalities import Modality
from miaobi.models.codec import PartCodec
from miaobi.models.folder import load
from miaobi.models.model import Model
from miaobi.models.public import start_from_public
from miaobi.models.starting import Started, take_weights
from miaobi.recipe import Recipe

_RUN = "run:"
INITIAL = "initial"
"""A part that is the model itself, as it is at the run's first step."""


def open_parts(recipe: Recipe) -> dict[str, PartCodec]:
    """The model behind each of ``model.parts``, frozen; those that are ``initial`` come with the family.

    Raises:
        Unsupported: another kind of reference than ``run:PATH``.
        RunFolderError: no model there.
    """
    said = {name: one for name, one in recipe.model.parts.items() if one != INITIAL}
    return {name: PartCodec(_model(one, f"model.parts.{name}")) for name, one in said.items()}


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


def start_from(family: Family, reference: str, modalities: Mapping[str, Modality]) -> Started:
    """Copy the weights of ``run:PATH`` into a freshly built family, as far as `take_weights` says; or a public model's.

    Raises:
        Unsupported: another kind of reference, or a model that does not fit.
        RunFolderError: no model there.
    """
    if pretrained.is_public(reference):
        return start_from_public(family, reference, modalities)
    return take_weights(family, open_start(reference), reference, modalities)


def open_start(reference: str) -> Model:
    """The model that ``model.start`` refers to.

    Raises:
        Unsupported: another kind of reference than ``run:PATH``.
        RunFolderError: no model there.
    """
    return _model(reference, "model.start")


def _model(reference: str, where: str) -> Model:
    if not reference.startswith(_RUN):
        raise Unsupported(f"{where} cannot refer to this", given=reference, allowed="run:PATH")
    return load(reference.removeprefix(_RUN))
