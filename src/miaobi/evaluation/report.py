"""Self-contained HTML reports: one file with everything in it, that opens anywhere and fetches nothing.

``page(title, sections)``; a section is made by `prose`, `table`, `samples`, `files`, `paired_files`, `curves`,
`scores`, `neighbours` or `commands`. Text is escaped; only `Section.body` and a modality's own ``html`` are taken
as HTML.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from miaobi.evaluation._style import STYLE
from miaobi.evaluation.charts import Point, chart, short
from miaobi.evaluation.records import Pair, Score
from miaobi.modalities import Item, Modality

_CELL = {"image": "8rem", "text": "16rem"}
_WIDE_CELL = "20rem"
_LARGEST = 4 << 20
_PLAYED = ("audio/x-wav", "audio/wav", "audio/mpeg", "audio/flac", "audio/ogg")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is under it, as HTML; an empty body leaves the section out."""

    title: str
    body: str


def page(title: str, sections: Iterable[Section], subtitle: str = "") -> str:
    """A whole HTML document of ``sections`` in order."""
    parts = [f"<section><h2>{escape(part.title)}</h2>\n{part.body}</section>" for part in sections if part.body]
    under = f'<p class="faint">{escape(subtitle)}</p>' if subtitle else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><header><h1>{escape(title)}</h1>{under}</header>\n{chr(10).join(parts)}\n</body></html>\n"
    )


def prose(title: str, *paragraphs: str) -> Section:
    """Plain paragraphs."""
    return Section(title, "".join(f"<p>{escape(text)}</p>" for text in paragraphs))


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[Any]], note: str = "") -> Section:
    """A table; numbers are aligned right and shown with four significant digits."""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    names = "".join(f"<th>{escape(name)}</th>" for name in header)
    head = f"<tr>{names}</tr>" if names else ""
    return Section(title, body and f'<div class="scroll"><table>{head}{body}</table></div>{_note(note)}')


def samples(
    title: str, items: Sequence[Item], modality: Modality, captions: Sequence[str] | None = None, note: str = ""
) -> Section:
    """Items as their modality shows or plays them, each with its caption (a prompt, a label)."""
    under = [""] * len(items) if captions is None else captions
    cards = "".join(
        f'<figure class="card">{modality.html(item)}{_caption(caption)}</figure>'
        for item, caption in zip(items, under, strict=True)
    )
    return Section(title, cards and _grid(cards, _CELL.get(modality.shown.name, _WIDE_CELL)) + _note(note))


def curves(title: str, series: Mapping[str, Sequence[Point]], note: str = "") -> Section:
    """One small chart a figure of (step, value) points."""
    charts = "".join(chart(name, points) for name, points in series.items())
    return Section(title, charts and _grid(charts, "17rem") + _note(note))


def scores(title: str, found: Mapping[str, Score], note: str = "") -> Section:
    """Scores with interval, floor and direction, and the whole protocol behind a click."""
    head = "".join(
        f'<th class="{kind}">{name}</th>'
        for name, kind in (
            ("figure", ""),
            ("value", "number"),
            ("95 % interval", "number"),
            ("real against real", "number"),
            ("better", ""),
            ("how", ""),
        )
    )
    rows = "".join(_score_row(figure, score) for figure, score in found.items())
    return Section(title, rows and f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>{_note(note)}')


def measured_curves(title: str, found: Mapping[str, Score], note: str = "") -> Section:
    """What scores measured over a range (strengths of an attack, temperatures), a chart each number that was."""
    groups = {score.protocol.get("metric", ""): _curve(score) for score in found.values()}
    charts = "".join(
        chart(f"{group}: {name.replace('_', ' ')}", points, axis)
        for group, (axis, series) in groups.items()
        for name, points in series.items()
    )
    return Section(title, charts and _grid(charts, "17rem") + _note(note))


def _curve(score: Score) -> tuple[str, dict[str, list[Point]]]:
    """The name of what is ranged over, and (where, value) of everything that was measured there."""
    curve = score.protocol.get("detail", {}).get("curve")
    rows = [row for row in curve if isinstance(row, Mapping)] if isinstance(curve, Sequence) else []
    if not rows:
        return "", {}
    axis, *names = (name for name, value in rows[0].items() if isinstance(value, int | float))
    return axis, {name: [(row[axis], row[name]) for row in rows if axis in row and name in row] for name in names}


def neighbours(
    title: str, pairs: Sequence[Pair], modality: Modality, note: str = "", kind: str = "generated"
) -> Section:
    """Items of a ``kind`` beside their nearest training items."""
    cards = "".join(
        f'<figure class="card"><div class="pair"><div>{modality.html(pair.generated)}</div>'
        f"<div>{modality.html(pair.training)}</div></div>"
        f"{_caption(f'{kind}, and its nearest training item: {short(pair.distance)} apart')}</figure>"
        for pair in pairs
    )
    return Section(title, cards and _grid(cards, _WIDE_CELL) + _note(note))


def commands(title: str, lines: Iterable[str | tuple[str, str]]) -> Section:
    """Commands to try: each alone, or with what it does."""
    return Section(title, "".join(_command(*((line, "") if isinstance(line, str) else line)) for line in lines))


def files(title: str, paths: Iterable[Path], note: str = "") -> Section:
    """Files of text, pictures and sound, embedded; other kinds and files over 4 MiB are named only."""
    cards = "".join(f'<figure class="card">{_shown(path)}{_caption(path.name)}</figure>' for path in paths)
    return Section(title, cards and _grid(cards, _CELL["text"]) + _note(note))


def paired_files(title: str, pairs: Iterable[tuple[Path, Path, str]], note: str = "") -> Section:
    """Files two and two, side by side, each pair with its caption; embedded as by `files`."""
    cards = "".join(
        f'<figure class="card"><div class="pair"><div>{_shown(left)}</div><div>{_shown(right)}</div></div>'
        f"{_caption(caption)}</figure>"
        for left, right, caption in pairs
    )
    return Section(title, cards and _grid(cards, _WIDE_CELL) + _note(note))


def _shown(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or ""
    if path.stat().st_size > _LARGEST:
        return ""
    if kind.startswith("text/"):
        return f"<pre>{escape(path.read_text(encoding='utf-8', errors='replace'))}</pre>"
    source = f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
    if kind.startswith("image/"):
        return f'<img src="{source}" alt="{escape(path.name)}">'
    return f'<audio controls src="{source}"></audio>' if kind in _PLAYED else ""


def _score_row(figure: str, score: Score) -> str:
    interval = "" if score.interval is None else f"{short(score.interval[0])} to {short(score.interval[1])}"
    floor = "" if score.floor is None else short(score.floor)
    direction = {"neither": "near real"}.get(score.protocol.get("direction", ""), score.protocol.get("direction", ""))
    numbers = "".join(f'<td class="number">{text}</td>' for text in (short(score.value), interval, floor))
    return f"<tr><td>{escape(figure)}</td>{numbers}<td>{escape(direction)}</td><td>{_protocol(score)}</td></tr>"


def _protocol(score: Score) -> str:
    entries = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(_plain(value))}</dd>" for key, value in score.protocol.items()
    )
    summary = f"{score.protocol.get('samples', '?')} items of {score.protocol.get('split', '?')}"
    return f"<details><summary>{escape(summary)}</summary><dl>{entries}</dl></details>"


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="number">{short(value)}</td>'
    kind = ' class="number"' if isinstance(value, int) and not isinstance(value, bool) else ""
    return f"<td{kind}>{escape(str(value))}</td>"


def _grid(cards: str, cell: str) -> str:
    return f'<div class="grid" style="--cell: {cell}">{cards}</div>'


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>' if text else ""


def _command(line: str, what: str) -> str:
    return f'{_caption_paragraph(what)}<pre class="command">{escape(line)}</pre>'


def _caption_paragraph(text: str) -> str:
    return f'<p class="faint">{escape(text)}</p>' if text else ""
