"""``miaobi list``: what there is, one line each."""

from __future__ import annotations

from typing import Annotated

import typer

from miaobi.cli import _inventory as inventory
from miaobi.cli._shared import Json, answering, table


def command(
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]", help=f"One of {', '.join(inventory.KINDS)}.")] = None,
    json: Json = False,
) -> None:
    """List families, networks, modalities, metrics, extractors, catalog data sets and recipes."""
    with answering(json) as answer:
        kinds = (kind,) if kind else inventory.KINDS
        found = {one: {name: inventory.summary(one, name) for name in inventory.names(one)} for one in kinds}
        lines: list[str] = []
        for one, entries in found.items():
            lines += [one, *table(list(entries.items()), indent="  "), ""]
        answer.give(found, [*lines, "miaobi show NAME tells more"])
