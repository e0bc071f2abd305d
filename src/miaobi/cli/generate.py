"""``miaobi generate``: sample a model."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from miaobi.cli._shared import Answer, Json, Seed, answering, pairs, values


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A run folder, a model folder, starter:NAME, hub:ID, a .gguf file, or a recipe with requests.",
        ),
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
    engine: Annotated[
        str, typer.Option("--engine", metavar="E", help="pytorch, or llama.cpp for single streams on a processor.")
    ] = "pytorch",
    template: Annotated[
        Path | None, typer.Option("--template", metavar="FILE", help="A prompt with fields, in YAML.")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option("--field", metavar="K=V", help="A field of the template; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """Make items and write them to files."""
    import miaobi

    with answering(json) as answer:
        folder = out or Path("generated") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        given = {"--prompt": prompt, "--condition": condition, "--edit": edit, "--mask": mask}
        drawn: dict[str, Any] = {"controls": values(control, "--control"), "n": n, "seed": seed, "engine": engine}
        if model.endswith((".yaml", ".yml")):
            other: dict[str, Any] = {"-n": n if n > 1 else None, "--seed": seed or None, "--field": field}
            other |= {"--control": control, "--template": template}
            _of_recipe(model, folder, {**given, **other, "--engine": None if engine == "pytorch" else engine}, answer)
        elif template is not None:
            _refuse(given, "the template is the prompt")
            _of_template(model, template, pairs(field, "--field"), folder, drawn, answer)
        else:
            _refuse({"--field": field}, "a field is of a template")
            drawn |= {"prompt": prompt, "conditions": pairs(condition, "--condition"), "edit": edit, "mask": mask}
            _give(miaobi.generate(model, out=folder, **drawn), folder, answer)


def _of_template(
    model: str, template: Path, fields: dict[str, str], folder: Path, drawn: dict[str, Any], answer: Answer
) -> None:
    """What goes on from a template, or answers it."""
    from miaobi.generation import generate_from

    _give(generate_from(model, template, fields, out=folder, **drawn), folder, answer)


def _give(items: list[Any], folder: Path, answer: Answer) -> None:
    answer.give({"items": [_said(item) for item in items]}, [*map(_shown, items), f"files: {folder}"])


def _of_recipe(recipe: str, folder: Path, said: dict[str, Any], answer: Answer) -> None:
    """Everything that a recipe asks for."""
    from miaobi.generation import generate_recipe

    _refuse(said, "the recipe says what is made")
    made = generate_recipe(recipe, out=folder)
    lines = [line for name, items in made.items() for line in (f"{name}:", *map(_shown, items), "")]
    answer.give(
        {"requests": {name: [_said(item) for item in items] for name, items in made.items()}},
        [*lines, f"files: {folder}"],
    )


def _refuse(said: dict[str, Any], why: str) -> None:
    from miaobi.errors import InvalidRecipe

    if given := [option for option, value in said.items() if value is not None]:
        raise InvalidRecipe(why, given=given, cure="leave these options out")


def _said(item: Any) -> dict[str, Any]:
    return {"path": item.path, "text": item.text, "seed": item.seed}


def _shown(item: Any) -> str:
    return item.text if item.text is not None else str(item.path)
