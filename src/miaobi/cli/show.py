"""``miaobi show``: everything about one plug-in or recipe."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from miaobi import plugins
from miaobi.cli import _inventory as inventory
from miaobi.cli._shared import Json, answering, table
from miaobi.errors import UnknownName


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name from miaobi list.")], json: Json = False
) -> None:
    """Show what a name is: its description, its options with their defaults, its sampling controls."""
    from miaobi.recipe import shipped

    with answering(json) as answer:
        found = [_plugin(kind, known) for kind in inventory.PACKAGES if (known := _match(kind, name))]
        if name in shipped():
            found.append(_recipe(name))
        if not found:
            every = {one for kind in inventory.KINDS for one in inventory.names(kind)}
            raise UnknownName("name", name, every, cure="miaobi list shows them all")
        answer.give({"found": found}, "\n\n".join(_text(entry) for entry in found))


def _match(kind: str, name: str) -> str | None:
    wanted = name.replace("-", "_")
    return wanted if wanted in plugins.names(inventory.PACKAGES[kind][0]) else None


def _plugin(kind: str, name: str) -> dict[str, Any]:
    plugin = inventory.find(kind, name)
    entry: dict[str, Any] = {"kind": kind, "name": name, "description": inventory.description(plugin)}
    for section in ("Config", "Controls"):
        if settings := getattr(plugin, section, None):
            entry[section.lower()] = [asdict(option) for option in inventory.options(settings)]
    if kind == "families":
        entry["abilities"] = inventory.abilities(plugin)
        entry["targets"] = sorted(str(form) for form in plugin.targets)
    if figures := getattr(plugin, "figures", None):
        entry["figures"] = {figure: str(direction) for figure, direction in figures.items()}
    if licence := getattr(plugin, "licence", None):
        entry["licence"] = licence
    return entry


def _recipe(name: str) -> dict[str, Any]:
    from miaobi.recipe import Recipe, shipped

    path = shipped()[name]
    note = Recipe.load(path).note or ""
    return {"kind": "recipes", "name": name, "description": note, "path": str(path), "recipe": path.read_text("utf-8")}


def _text(entry: dict[str, Any]) -> str:
    lines = [f"{entry['name']} ({entry['kind']})", "", entry["description"]]
    for key, value in entry.items():
        if key in ("config", "controls") and value:
            rows = [tuple(option.values()) for option in value]
            lines += ["", "options" if key == "config" else "sampling controls", *table(rows, indent="  ")]
        elif key == "recipe":
            lines += ["", value.rstrip()]
        elif key not in ("name", "kind", "description", "config", "controls"):
            told = table(list(value.items()), indent="  ") if isinstance(value, dict) else [_inline(value)]
            lines += ["", f"{key}: {told[0]}"] if len(told) == 1 else ["", key, *told]
    return "\n".join(lines)


def _inline(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
