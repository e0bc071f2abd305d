"""``miaobi data``: the catalog, and a report on any data before training on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from miaobi.cli._shared import Changes, Json, answering, note, table

command = typer.Typer(help="List, fetch and inspect data.", no_args_is_help=True)


@command.command("list")
def list_(json: Json = False) -> None:
    """List the data sets that are fetched by name, with their licences."""
    from miaobi.data import catalog
    from miaobi.recipe import plugin_name

    with answering(json) as answer:
        found = catalog.available()
        rows = [(one["source"], plugin_name(one["modality"]), one["summary"]) for one in found]
        licences = [(f"licence of {one['name']}:", one["licence"]) for one in found]
        answer.give({"data": found}, [*table(rows), "", *table(licences)])


@command.command()
def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name from miaobi data list.")], json: Json = False
) -> None:
    """Fetch a data set into the cache; afterwards it needs no network."""
    from miaobi.data import catalog

    with answering(json) as answer:
        found = catalog.get(name.removeprefix("catalog:"), log=note)
        answer.give(found, f"{found['records']} records; in a recipe: data.source: {found['source']}")


@command.command()
def inspect(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="What data.source takes, or a recipe.yaml.")],
    modality: Annotated[str | None, typer.Option("--modality", help="Default: what the source tells.")] = None,
    changes: Changes = None,
    json: Json = False,
) -> None:
    """Report what data holds: counts, lengths, sizes, duplicates, languages, unreadable files by name."""
    from miaobi.data import inspect as inspect_data
    from miaobi.recipe import Recipe, shipped

    with answering(json) as answer:
        if Path(source).suffix in (".yaml", ".yml") or source in shipped():
            recipe = Recipe.load(source, changes or ())
            section = recipe.data.model_dump(mode="json")
            report = inspect_data(section.pop("source"), modality or recipe.modality, data=section, log=note)
        else:
            report = inspect_data(source, modality, log=note)
        answer.give(report.to_json(), report.render())
