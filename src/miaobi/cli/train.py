"""``miaobi train``: train what a recipe describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miaobi.cli._shared import Changes, Json, answering
from miaobi.errors import InvalidRecipe


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe.yaml, or a run folder that has one.")],
    changes: Changes = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The run folder; default: runs/RECIPE.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, or start afresh.")] = False,
    refresh: Annotated[
        bool, typer.Option("--continue", help="Refresh the finished run RECIPE with new data, as its next version.")
    ] = False,
    data: Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="The new data; with --continue.")] = None,
    json: Json = False,
) -> None:
    """Train a model; Ctrl-C saves, and --resume goes on exactly where it stopped."""
    import miaobi

    if refresh != (data is not None):
        raise InvalidRecipe("--continue and --data belong together", cure="train RUN --continue --data SOURCE")

    with answering(json) as answer:
        result = miaobi.train(recipe, run=run, changes=changes or (), resume=resume, continue_with=data)
        best = (
            result.best and f", best {result.best['metric']} {result.best['value']:.4g} at step {result.best['step']}"
        )
        told = {"run": result.run, "steps": result.steps, "best": result.best, "model": result.model}
        after = f"miaobi promote {recipe}" if refresh else f"miaobi evaluate {result.run}"
        answer.give(
            told | ({"gates": result.gates} if refresh else {}),
            [
                f"{result.stopped or 'done'}: {result.steps} steps{best or ''}",
                f"model: {result.model}",
                f"next: miaobi generate {result.run} | {after}",
            ],
        )
