"""What is known about a data set's quality: counts, sizes, duplicates, languages, balance, and how it was split."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

_WIDTH = 100
_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Report:
    """A quality report.

    Attributes:
        data: JSON-ready. Keys: ``source``, ``licence``, ``modality``, ``items`` (read, kept), ``bytes``, ``lengths``,
            ``extremes`` (the shortest and longest by name); what was left out: ``unreadable``, ``too_short``,
            ``too_long``, ``left_out`` (not encodable), ``ignored`` (files of another kind), ``duplicates`` (exact,
            near, near_kept); the modalities' own statistics of at most 1,000 items: ``content``, ``conditions``;
            ``labels``, ``split`` and ``notes``.
    """

    data: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return self.data

    def rich(self) -> RenderableType:
        """The report for a terminal."""
        return Group(
            _facts(self.data), *_problems(self.data), *_labels(self.data), _split(self.data), *_notes(self.data)
        )

    def render(self) -> str:
        """The report as plain text, 100 columns wide."""
        console = Console(file=io.StringIO(), width=_WIDTH, color_system=None, highlight=False)
        console.print(self.rich())
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text.rstrip() + "\n"


def _facts(data: Mapping[str, Any]) -> Table:
    table = Table(title=Text(f"{data['source']} ({data['modality']})"), show_header=False, title_justify="left")
    for name in ("licence", "items", "bytes", "lengths"):
        if data.get(name) is not None:
            table.add_row(name, Text(_plain(data[name])))
    for name, value in data["content"].items():
        table.add_row(name.replace("_", " "), Text(_plain(value)))
    for condition, described in data["conditions"].items():
        for name, value in described.items():
            table.add_row(f"{condition}: {name.replace('_', ' ')}", Text(_plain(value)))
    return table


def _problems(data: Mapping[str, Any]) -> list[RenderableType]:
    kinds = {
        "unreadable": data["unreadable"],
        "too short": data["too_short"],
        "too long": data["too_long"],
        "exact duplicates": data["duplicates"]["exact"],
        "near duplicates": data["duplicates"]["near"],
        "not encodable": data["left_out"],
    }
    table = Table("left out", "count", "examples", title_justify="left")
    for name, removed in kinds.items():
        if removed["count"]:
            shown = [f"{one['where']}: {one['reason']}" for one in removed["examples"][:_EXAMPLES]]
            table.add_row(name, str(removed["count"]), Text("\n".join(shown)))
    ignored = data["ignored"]
    if ignored["count"]:
        table.add_row("other files", str(ignored["count"]), Text(", ".join(ignored["examples"][:_EXAMPLES])))
    return [table] if table.row_count else []


def _labels(data: Mapping[str, Any]) -> list[RenderableType]:
    tables: list[RenderableType] = []
    for name, found in data["labels"].items():
        table = Table(f"{name}: class", "items", title_justify="left")
        for label, count in list(found["counts"].items())[:20]:
            table.add_row(Text(label), str(count))
        table.add_row("classes", f"{found['classes']} (balance {found['balance']:.2f} of 1)")
        tables.append(table)
    return tables


def _split(data: Mapping[str, Any]) -> Table:
    split = data["split"]
    table = Table("part", "size", "difference from train", title=f"split by {split['by']}", title_justify="left")
    for part, size in split["sizes"].items():
        table.add_row(part, _plain(size), _plain(split["difference"].get(part, {})))
    return table


def _notes(data: Mapping[str, Any]) -> list[RenderableType]:
    return [Text(f"note: {note}") for note in data["notes"]]


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(_plain(inner) for inner in value)
    return str(value)
