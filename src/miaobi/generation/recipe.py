"""What a recipe says should be made, of a public model that it takes as it was published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miaobi import families
from miaobi.errors import InvalidRecipe, Unsupported
from miaobi.generation.pipeline import Generated, generate
from miaobi.models import opened
from miaobi.pretrained import is_public
from miaobi.recipe import Recipe


def generate_recipe(
    recipe: Recipe | Mapping[str, Any] | str | Path, *, out: Path | str | None = None
) -> dict[str, list[Generated]]:
    """Every request of a recipe's ``generate`` section, by name.

    Args:
        recipe: as `Recipe.load` takes it; nothing is trained, so its family is one that learns nothing.
        out: folder for the files, one in it for each request; ``None`` writes none.

    Raises:
        InvalidRecipe: there is no such section, or no such recipe.
        Unsupported: the model has to be trained first.
        RequestError: a request that the model cannot take.
    """
    found = Recipe.load(recipe)
    if not found.generate:
        raise InvalidRecipe("the recipe does not say what to make", given="no section generate", cure=_TRAIN)
    start, family = found.model.start, families.find(found.model.family)
    asks = found.model.prompt is not None or found.model.options.get("shots", 0)
    if family.learns or asks or start is None or not is_public(start):
        raise Unsupported("a recipe generates where a public model is taken as it is", given=start, cure=_TRAIN)
    model = opened(start)
    return {
        name: generate(
            model,
            prompt=said.prompt,
            conditions=said.condition,
            controls=said.control,
            n=said.n,
            seed=said.seed,
            out=None if out is None else Path(out) / name,
        )
        for name, said in found.generate.items()
    }


_TRAIN = "run `miaobi train RECIPE`, then `miaobi generate RUN`"
