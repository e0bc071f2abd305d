"""`build`: a recipe's model, from its own sections and from what it refers to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy

import torch

from miaobi.errors import Unsupported
from miaobi.families import Family, find
from miaobi.modalities import Modality
from miaobi.models.codec import PartCodec
from miaobi.models.construct import construct
from miaobi.models.public import worded
from miaobi.models.references import INITIAL, open_parts, start_from
from miaobi.models.starting import matched
from miaobi.recipe import Recipe
from miaobi.types import Spec


def build(
    recipe: Recipe,
    target: Spec,
    conditions: Mapping[str, Spec],
    parts: Mapping[str, PartCodec] | None = None,
    *,
    modalities: Mapping[str, Modality] | None = None,
    log: Callable[[str], None] | None = None,
) -> Family:
    """A family with its networks: fresh, or with the weights that ``model.start`` refers to.

    Args:
        recipe: its ``model`` section and ``seed`` are read; equal ones give equal weights.
        target: what is generated.
        conditions: what it is generated from.
        parts: the recipe's, where they are open already.
        modalities: the fitted modality of the target, under ``target``, and of each condition: what tokens to start
            from are matched by; without them tables of tokens start afresh.
        log: told what of ``model.start`` was used.

    Raises:
        UnknownName: family, network or role.
        InvalidRecipe: an option that a ``Config`` refuses.
        Unsupported: the family cannot model such a target, or a reference cannot be used.
        RunFolderError: a reference leads to no model.
    """
    opened = open_parts(recipe) if parts is None else parts
    recipe = worded(recipe, modalities or {})
    given = {name: part.model.family for name, part in opened.items()}
    _require_spelling(recipe, opened, modalities or {})
    family = construct(recipe, target, conditions, given)
    if recipe.model.start is not None:
        started = start_from(family, recipe.model.start, modalities or {})
        if log is not None:
            log(str(started))
    for name, said in {**type(family).own_parts, **recipe.model.parts}.items():
        if said == INITIAL and name not in given:
            family.parts_by_name.add(name, deepcopy(family.shipped()))
    return family


def _require_spelling(recipe: Recipe, parts: Mapping[str, PartCodec], given: Mapping[str, Modality]) -> None:
    """Refuse a part that stands beside the model whose numbers are other tokens."""
    for name in find(recipe.model.family).own_parts:
        if name not in parts or "target" not in given:
            continue
        rows = matched(given["target"], parts[name].model.modality)
        if rows is None or not torch.equal(rows, torch.arange(len(rows))):
            raise Unsupported(
                f"the part {name} has other tokens: its numbers stand for other words",
                given=recipe.model.parts.get(name),
                cure="use a model with the same tokenizer, or leave it out",
            )
