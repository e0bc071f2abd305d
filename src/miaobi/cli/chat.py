"""``miaobi chat``: talk with a model in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from miaobi.cli._shared import Json, Seed, answering, note, values


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="starter:NAME, hub:ID, a run folder or a model folder.")
    ],
    system: Annotated[str | None, typer.Option("--system", metavar="TEXT", help="What the model is to be.")] = None,
    control: Annotated[
        list[str] | None,
        typer.Option("--control", metavar="K=V", help="A sampling control such as temperature=0.7; may be repeated."),
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Talk: a line is a turn, answers appear as they are written; an empty line, /quit or Ctrl-D ends it."""
    import miaobi

    with answering(json) as answer:
        chat = miaobi.Chat(model, system=system, controls=values(control, "--control"), seed=seed)
        for line in _lines():
            for piece in chat.say(line):
                sys.stdout.write(piece)
                sys.stdout.flush()
            sys.stdout.write("\n")
            note(f"[{chat.pace}]")
        answer.give({"messages": [message._asdict() for message in chat.messages]}, "")


def _lines() -> Iterator[str]:
    """What is typed, or piped in, up to the end."""
    asks = sys.stdin.isatty()
    while True:
        if asks:
            typer.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line.strip() or line.strip() == "/quit":
            return
        yield line.strip()
