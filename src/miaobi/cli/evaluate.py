"""``miaobi evaluate``: score a model on held-out data."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from miaobi.cli._shared import Json, Seed, answering, note, table, values
from miaobi.errors import CorruptFile, SaveFailed


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run folder or a model folder.")],
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", metavar="M", help="GROUP, GROUP.FIGURE or FIGURE (miaobi list metrics); may be repeated."
        ),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="Other data than the run's own.")] = None,
    samples: Annotated[int | None, typer.Option("--samples", min=2, help="How many items to generate.")] = None,
    control: Annotated[
        list[str] | None,
        typer.Option("--control", metavar="K=V", help="A sampling control in place of the recipe's; may be repeated."),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Score a model on the test part, with protocol and real-versus-real floor; a run's page and card say it too."""
    import miaobi
    from miaobi import models, training

    with answering(json) as answer:
        controls = values(control, "--control")
        opened = models.opened(model)
        scores = miaobi.evaluate(opened, metrics=metric or (), data=data, samples=samples, seed=seed, controls=controls)
        told: dict[str, Any] = {
            "model": model,
            "scores": {figure: score.to_json() for figure, score in scores.items()},
        }
        lines = table([("figure", "value", "95 % interval", "floor"), *(_row(*item) for item in scores.items())])
        if training.is_run(model):
            try:
                told["page"] = str(training.record(model, scores, opened.modality))
                lines = [*lines, f"page: {told['page']}"]
            except (SaveFailed, CorruptFile) as error:
                # What was measured may have taken hours, and is given all the same.
                note(f"the run's page does not have these scores: {error}")
        answer.give(told, lines)


def _row(figure: str, score: Any) -> tuple[str, ...]:
    interval = "" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}"
    return figure, f"{score.value:.4g}", interval, "" if score.floor is None else f"{score.floor:.4g}"
