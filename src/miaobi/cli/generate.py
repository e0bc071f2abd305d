"""``miaobi generate``: sample a model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from miaobi.cli._shared import Json, Seed, answering, pairs, values


def command(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A run folder, a model folder, starter:NAME, hub:ID, or a .gguf file."),
    ],
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="TEXT", help="How the item begins.")] = None,
    condition: Annotated[
        list[str] | None, typer.Option("--condition", metavar="K=V", help="A condition's value; may be repeated.")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option("--control", metavar="K=V", help="A sampling control such as temperature=0.8; may be repeated."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many items.")] = 1,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder for the files; default: generated/TIME.")
    ] = None,
    edit: Annotated[
        Path | None,
        typer.Option(
            "--edit", metavar="FILE", help="A file to restore, continue or fill in; gaps of a text are marked □."
        ),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="FILE", help="Bright where the edited file is to be made anew.")
    ] = None,
    json: Json = False,
) -> None:
    """Make items and write them to files."""
    import miaobi

    with answering(json) as answer:
        folder = out or Path("generated") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        items = miaobi.generate(
            model,
            prompt=prompt,
            conditions=pairs(condition, "--condition"),
            controls=values(control, "--control"),
            n=n,
            seed=seed,
            out=folder,
            edit=edit,
            mask=mask,
        )
        answer.give(
            {"items": [{"path": item.path, "text": item.text, "seed": item.seed} for item in items]},
            [*(item.text if item.text is not None else str(item.path) for item in items), f"files: {folder}"],
        )
