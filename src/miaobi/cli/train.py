"""``miaobi train``: train what a recipe describes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miaobi.cli._shared import Changes, Json, answering


def command(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe.yaml, or a run folder that has one.")],
    changes: Changes = None,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="The run folder; default: runs/RECIPE.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, or start afresh.")] = False,
    json: Json = False,
) -> None:
    """Train a model; Ctrl-C saves, and --resume goes on exactly where it stopped."""
    import miaobi

    with answering(json) as answer:
        result = miaobi.train(recipe, run=run, changes=changes or (), resume=resume)
        best = (
            result.best and f", best {result.best['metric']} {result.best['value']:.4g} at step {result.best['step']}"
        )
        answer.give(
            {"run": result.run, "steps": result.steps, "best": result.best, "model": result.model},
            [
                f"{result.stopped or 'done'}: {result.steps} steps{best or ''}",
                f"model: {result.model}",
                f"next: miaobi generate {result.run} | miaobi evaluate {result.run}",
            ],
        )
