"""``miaobi compare``: recipes on the same data with the same budget."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miaobi.cli._shared import Json, Seed, answering, table


def command(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE...", help="Recipes or run folders on the same modality and data.")
    ],
    budget: Annotated[
        str, typer.Option("--budget", metavar="B", help="For each model: 300s, 5m, 2h of wall time, or 500steps.")
    ] = "300s",
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="DIR", help="The comparison's folder; a second start goes on in it.")
    ] = Path("runs/compare"),
    samples: Annotated[int | None, typer.Option("--samples", help="How many items each model generates.")] = None,
    quality: Annotated[
        str | None, typer.Option("--quality", metavar="F", help="The figure that ranks; default: the modality's.")
    ] = None,
    watts: Annotated[
        float, typer.Option("--watts", help="Power that the estimate of energy assumes; nothing is measured.")
    ] = 30.0,
    baselines: Annotated[
        bool, typer.Option("--baselines/--no-baselines", help="Add what learns by counting: ngram or gaussian.")
    ] = True,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train recipes in turn with one budget, score all alike, and rank those that neither copy nor collapse."""
    from miaobi.training.comparison import compare

    with answering(json) as answer:
        found = compare(
            recipes,
            budget=budget,
            out=out,
            with_baselines=baselines,
            samples=samples,
            seed=seed,
            quality=quality,
            watts=watts,
        )
        rule = f"rule: {found.ranking.rule}"
        answer.give(found.to_json(), [*table(found.table()), rule, f"page: {found.page}", found.ranking.summary])
