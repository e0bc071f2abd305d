"""What views draw: maps over tokens, words with colour behind them, curves with their intervals; inline, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from PIL import Image

from miaobi.evaluation.charts import short

_WARM, _COLD = (200, 62, 38), (38, 110, 190)
_CELL, _LETTER = 11, 5.4
_LONGEST_LABEL = 12


@dataclass(frozen=True, slots=True)
class Word:
    """A token as a person reads it; ``special``: it is of the model's own, such as the begin of an item."""

    text: str
    special: bool = False

    @property
    def label(self) -> str:
        """On an axis: short, and visible where it is white space."""
        shown = self.text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")
        return shown if len(shown) <= _LONGEST_LABEL else f"{shown[: _LONGEST_LABEL - 1]}…"


def paint(values: np.ndarray, largest: float) -> bytes:
    """A PNG of ``values [H, W]``, a pixel a number: the more the denser; red above zero, blue below.

    Zero is transparent and ``largest`` (or its negative) opaque, so that it suits light and dark pages.
    """
    share = np.clip(values / max(largest, 1e-12), -1, 1)
    pixels = np.zeros((*values.shape, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(share[..., None] >= 0, _WARM, _COLD)
    pixels[..., 3] = (255 * np.abs(share)).round()
    written = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(written, format="PNG")
    return written.getvalue()


def source(png: bytes) -> str:
    """A PNG as an address that fetches nothing."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def heat_map(
    values: np.ndarray,
    rows: Sequence[Word],
    columns: Sequence[Word],
    title: str,
    across: str = "",
    largest: float | None = None,
) -> str:
    """A ``figure`` of ``values [rows, columns]`` with a label a row and a column.

    Args:
        values: finite numbers.
        rows: down the left side.
        columns: along the top.
        title: what it is, with its unit.
        across: what rows and columns are.
        largest: what is opaque; default: the largest of them.
    """
    largest = float(np.abs(values).max(initial=0)) if largest is None else largest
    left, top = (10 + _LETTER * 1.3 * max(_width(word.label) for word in side) for side in (rows, columns))
    width, height = left + _CELL * len(columns) + 8, top + _CELL * len(rows) + 6
    marks = [_row_label(word, left - 5, top + _CELL * (i + 0.72)) for i, word in enumerate(rows)]
    marks += [_column_label(word, left + _CELL * (i + 0.68), top - 5) for i, word in enumerate(columns)]
    image = (
        f'<image href="{source(paint(values, largest))}" x="{left:.1f}" y="{top:.1f}" width="{_CELL * len(columns)}" '
        f'height="{_CELL * len(rows)}" preserveAspectRatio="none" style="image-rendering:pixelated"></image>'
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{_CELL * len(columns)}" height="{_CELL * len(rows)}" fill="none" '
        'class="axis"></rect>'
    )
    caption = f"{title}; opaque is {short(largest)}{f'; {across}' if across else ''}"
    return (
        f'<figure class="card" style="max-width:{width + 30:.0f}px"><svg viewBox="0 0 {width:.0f} {height:.0f}" '
        f'role="img" aria-label="{escape(caption)}" style="width:{width:.0f}px">{image}{"".join(marks)}</svg>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def small_maps(maps: Sequence[tuple[str, np.ndarray]], summary: str) -> str:
    """Many maps without labels, behind a click."""
    cells = "".join(
        f'<figure class="card"><img src="{source(paint(values, float(np.abs(values).max(initial=0))))}" '
        f'alt="{escape(name)}" style="width:100%;image-rendering:pixelated"><figcaption>{escape(name)}</figcaption>'
        "</figure>"
        for name, values in maps
    )
    return f'<details><summary>{escape(summary)}</summary><div class="grid" style="--cell:9rem">{cells}</div></details>'


def coloured(words: Sequence[Word], values: Sequence[float], title: str, marked: str = "") -> str:
    """A text whose words have colour behind them: red raises, blue lowers; a word's number shows on hovering.

    ``marked`` is written behind them in a frame: what it is all about.
    """
    largest = max((abs(value) for value in values), default=0.0)
    spans = "".join(_span(word, value, largest) for word, value in zip(words, values, strict=True))
    end = f' <b style="border:1px solid currentColor;border-radius:.2rem;padding:0 .25rem">{escape(marked)}</b>'
    return (
        f'<figure class="card"><div style="white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.9">{spans}'
        f"{end if marked else ''}</div><figcaption>{escape(title)}; the strongest is {short(largest)}</figcaption>"
        "</figure>"
    )


def grid(cells: Sequence[str], width: str = "20rem") -> str:
    """Cards side by side, as many as fit."""
    return f'<div class="grid" style="--cell:{width}">{"".join(cells)}</div>' if cells else ""


def paragraph(text: str, faint: bool = False) -> str:
    """A paragraph of plain text."""
    return f'<p class="note">{escape(text)}</p>' if faint else f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table inside a section; numbers on the right, a dash for ``None``."""
    numbers = [any(isinstance(row[i], int | float) for row in rows) for i in range(len(header))]
    head = "".join(
        f'<th class="{"number" if number else ""}">{escape(name)}</th>'
        for name, number in zip(header, numbers, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _cell(value: object) -> str:
    if value is None:
        return '<td class="number">—</td>'
    if isinstance(value, int | float):
        return f'<td class="number">{short(value) if isinstance(value, float) else value}</td>'
    return f"<td>{escape(str(value))}</td>"


def _span(word: Word, value: float, largest: float) -> str:
    red, green, blue = _WARM if value >= 0 else _COLD
    dense = 0.75 * abs(value) / largest if largest else 0.0
    text = word.text.replace("\n", "⏎\n") if not word.special else word.text
    look = ";opacity:.6" if word.special else ""
    return (
        f'<span title="{value:+.3g}" style="background:rgba({red},{green},{blue},{dense:.3f}){look}">'
        f"{escape(text)}</span>"
    )


def _width(label: str) -> float:
    """Roughly how many narrow letters wide a label is: ideographs are two."""
    return sum(2 if ord(letter) > 0x2E7F else 1 for letter in label) or 1


def _row_label(word: Word, x: float, y: float) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="end" style="font-size:9px">{escape(word.label)}</text>'


def _column_label(word: Word, x: float, y: float) -> str:
    return f'<text transform="translate({x:.1f} {y:.1f}) rotate(-90)" style="font-size:9px">{escape(word.label)}</text>'
