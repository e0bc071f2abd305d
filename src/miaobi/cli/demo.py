"""``miaobi demo``: poems, pictures and music in a few minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miaobi.cli._shared import Json, answering


def command(
    quick: Annotated[bool, typer.Option("--quick", help="The same in under two minutes, with weaker models.")] = False,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder for runs and report.html.")] = Path(
        "demo"
    ),
    json: Json = False,
) -> None:
    """Train three small models on real data, sample and score them, and write one page that shows it all."""
    from miaobi.demo import demo

    with answering(json) as answer:
        shown = demo(out, quick=quick)
        answer.give(shown.to_json(), shown.text())
