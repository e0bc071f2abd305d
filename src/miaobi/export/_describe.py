"""``README.md`` and ``export.json`` of an export: how a prompt is written, and what was checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import miaobi
from miaobi.export._source import Exportable

_SHOWN = 8


def describe(source: Exportable, name: str, checks: dict[str, Any], folder: Path) -> None:
    """Write both to the folder."""
    told = {
        "miaobi": miaobi.__version__,
        "format": name,
        "begin": _token(source, source.begin),
        "end": _token(source, source.end),
        "limit": source.limit,
        "never_drawn": source.suppressed,
        "prompt": prompt(source),
        "conditions": source.conditions,
        "checks": checks,
    }
    text = json.dumps(told, ensure_ascii=False, indent=1)
    (folder / "export.json").write_text(text, encoding="utf-8")
    (folder / "README.md").write_text("\n".join(_lines(source, name, checks)), encoding="utf-8")


def prompt(source: Exportable) -> str:
    """How a prompt is written, with what is to be filled in in braces."""
    conditions = (f"{told['opening']}{{{name}}}" for name, told in source.conditions.items())
    begin = "" if source.begin is None else source.piece(source.begin)
    return f"{''.join(conditions)}{begin}{{text}}"


def _lines(source: Exportable, name: str, checks: dict[str, Any]) -> list[str]:
    own = source.info.get("licence")
    lines = [
        f"# A language model, exported by miaobi {miaobi.__version__} as {name}",
        "",
        *([f"Licence of its data: {own}.", ""] if own else []),
        "## Prompts",
        "",
        f"`{prompt(source)}`, at most {source.limit} tokens with what follows.",
        "",
    ]
    for condition, told in source.conditions.items():
        lines += [f"- `{{{condition}}}`: {_value(told)}, or `{told['absent']}` where there is none."]
    if source.begins_with_begin:
        lines += ["The tokenizer puts the begin token there by itself."]
    if source.end is not None:
        lines += [f"- A text ends with `{source.piece(source.end)}`."]
    lines += [
        "- Tokens under `never_drawn` in `export.json` stand in prompts only: give them no chance of being drawn."
    ]
    return [*lines, "", "## Checked", "", "```json", json.dumps(checks, ensure_ascii=False, indent=1), "```", ""]


def _value(told: dict[str, Any]) -> str:
    if told["value"] == "text":
        return "a text"
    shown = list(told["tokens"])[:_SHOWN]
    more = f" and {len(told['tokens']) - _SHOWN} more in `export.json`" if len(told["tokens"]) > _SHOWN else ""
    return f"{told['value']} of {', '.join(f'`{token}`' for token in shown)}{more}"


def _token(source: Exportable, token: int | None) -> dict[str, Any] | None:
    return None if token is None else {"id": token, "token": source.piece(token)}
