"""``miaobi estimate``: parameters, memory and time of a run, before it starts."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from miaobi.cli._shared import Changes, Json, answering


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe.yaml, or a run folder that has one.")],
    changes: Changes = None,
    json: Json = False,
) -> None:
    """Estimate parameters, memory and time by measuring a few steps."""
    from miaobi.training import estimate

    with answering(json) as answer:
        found = estimate(recipe, changes or ())
        answer.give(asdict(found), str(found))
