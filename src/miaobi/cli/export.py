"""``miaobi export``: a model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miaobi.cli._shared import Json, answering, values


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A run folder or a model folder.")],
    format_: Annotated[str, typer.Option("--format", metavar="F", help="transformers, gguf or onnx.")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Folder to write, absent or empty; default: exported/RUN-F."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="K=V", help="The format's own (miaobi show F); may be repeated."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="TEXT", help="Check on this and not on held-out items; may be repeated."),
    ] = None,
    json: Json = False,
) -> None:
    """Write a language model in another program's format, checked against the network before it is kept."""
    import miaobi
    from miaobi.export import find

    with answering(json) as answer:
        options = values(option, "--option")
        find(format_).Config.parse(options, "--option")
        folder = out or Path("exported") / f"{Path(model).resolve().name}-{format_}"
        made = miaobi.export(model, format=format_, out=folder, texts=text or (), **options)
        answer.give(made.to_json(), [*(f"{key}: {value}" for key, value in made.checks.items()), f"files: {made.path}"])
