"""``miaobi promote``: put a refreshed model in use, or take that back."""

from __future__ import annotations

from typing import Annotated

import typer

from miaobi.cli._shared import Json, answering


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run that was refreshed: train RUN --continue.")],
    version: Annotated[
        str | None, typer.Option("--version", metavar="NNNN", help="Which, as 0002; default: the newest.")
    ] = None,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Go back to the model in use before the last promotion.")
    ] = False,
    json: Json = False,
) -> None:
    """Put a version in use where its gates passed; everything that takes RUN then takes its model."""
    import miaobi

    with answering(json) as answer:
        done = miaobi.promote(run, version=version, rollback=rollback)
        answer.give(done.to_json(), f"version {done.version} is in use in place of {done.previous}: {done.model}")
