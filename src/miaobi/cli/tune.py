"""``miaobi tune``: search for better settings of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miaobi.cli._shared import Changes, Json, answering


def command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe.yaml; its tune section says what to search.")
    ],
    trials: Annotated[
        int | None, typer.Option("--trials", min=1, metavar="N", help="How many in all; default: the recipe's.")
    ] = None,
    study: Annotated[
        Path | None,
        typer.Option(
            "--study", metavar="DIR", help="The study's folder; default: runs/RECIPE-study. A used one is joined."
        ),
    ] = None,
    changes: Changes = None,
    json: Json = False,
) -> None:
    """Search hyper-parameters; the same command in several processes shares the trials, and after a kill goes on."""
    import miaobi

    with answering(json) as answer:
        found = miaobi.tune(recipe, study=study, trials=trials, changes=changes or ())
        answer.give(found.to_json(), [found.summary, f"recipe: {found.recipe}", f"next: miaobi train {found.recipe}"])
