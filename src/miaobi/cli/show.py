"""``miaobi show``: everything about one plug-in or recipe, or the inside of a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from miaobi import plugins
from miaobi.cli import _inventory as inventory
from miaobi.cli._shared import Answer, Json, Seed, answering, table
from miaobi.errors import InvalidRecipe, SaveFailed, UnknownName


def command(
    name: Annotated[str, typer.Argument(metavar="NAME|RUN", help="A name from miaobi list; or a run, to look into.")],
    understand: Annotated[
        bool, typer.Option("--understand", help="Write a page of views into a run's or a model folder's model.")
    ] = False,
    view: Annotated[
        list[str] | None,
        typer.Option("--view", metavar="V", help="Only this view; may be repeated. Default: all that apply."),
    ] = None,
    items: Annotated[
        int | None, typer.Option("--items", min=1, max=100, help="Items that are looked at; default: 8.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", metavar="SOURCE", help="Other data than the run's own.")] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="The page; default: RUN/understanding.html.")
    ] = None,
    json: Json = False,
) -> None:
    """Show what a name is: its description, options with their defaults, sampling controls; or look into a run."""
    with answering(json) as answer:
        if understand:
            _understand(answer, name, out, views=view or (), items=items or 8, data=data, seed=seed)
            return
        given = {"--view": view, "--items": items, "--data": data, "-o": out}
        if any(given.values()):
            raise InvalidRecipe(
                "options of the page of views without it",
                given=[option for option, value in given.items() if value],
                cure="add --understand",
            )
        found = _found(name)
        answer.give({"found": found}, "\n\n".join(_text(entry) for entry in found))


def _understand(answer: Answer, run: str, out: Path | None, **options: Any) -> None:
    from miaobi.evaluation.understanding import understand

    page = out or Path(run) / "understanding.html"
    seen = understand(run, **options)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(seen.page(), encoding="utf-8")
    except OSError as error:
        raise SaveFailed(f"could not write {page}: {error}", cure="free some disk space, or name another -o") from None
    lines = [f"{name}: {reason}" for name, reason in seen.left_out.items()]
    answer.give({"model": run, "page": str(page), **seen.to_json()}, [f"wrote {page}: {', '.join(seen.found)}", *lines])


def _found(name: str) -> list[dict[str, Any]]:
    from miaobi.recipe import shipped

    if (Path(name) / "lineage.json").is_file():
        from miaobi.training.continual.listing import described

        return [described(Path(name))]
    found = [_plugin(kind, known) for kind in inventory.PACKAGES if (known := _match(kind, name))]
    if name in shipped():
        found.append(_recipe(name))
    if not found:
        every = {one for kind in inventory.KINDS for one in inventory.names(kind)}
        raise UnknownName("name", name, every, cure="miaobi list shows them all")
    return found


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
