"""A score as a picture: a piano roll in SVG."""

from __future__ import annotations

from typing import Any

from miaobi.modalities._score import note_table

_WIDTH, _HEIGHT = 640, 160
_MOST_NOTES = 2_000
_COLOURS = ("#c0392b", "#d68910", "#229954", "#2471a3", "#7d3c98", "#17a589", "#839192", "#5d4037")


def piano_roll(score: Any) -> str:
    """An inline ``<svg>``: time to the right, pitch upwards, a colour a voice, each voice's first 2,000 notes."""
    tables = [note_table(track)[:_MOST_NOTES] for track in score.tracks]
    tables = [table for table in tables if len(table)]
    if not tables:
        return _svg("no notes", "")
    start = min(int(table[:, 0].min()) for table in tables)
    end = max(int((table[:, 0] + table[:, 1]).max()) for table in tables)
    low, high = min(int(table[:, 2].min()) for table in tables), max(int(table[:, 2].max()) for table in tables)
    x, y = _WIDTH / max(end - start, 1), _HEIGHT / (high - low + 1)
    groups = []
    for number, table in enumerate(tables):
        colour = _COLOURS[number % len(_COLOURS)]
        bars = (
            f'<rect x="{(onset - start) * x:.1f}" y="{(high - pitch) * y:.1f}" '
            f'width="{max(duration * x - 0.5, 0.5):.1f}" height="{y:.1f}"/>'
            for onset, duration, pitch, _ in table.tolist()
        )
        groups.append(f'<g fill="{colour}" fill-opacity="0.8">{"".join(bars)}</g>')
    return _svg("piano roll", "".join(groups))


def _svg(label: str, content: str) -> str:
    size = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}"'
    return f'<svg {size} role="img" aria-label="{label}">{content}</svg>'
