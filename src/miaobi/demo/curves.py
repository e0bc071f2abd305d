"""Training curves as SVG, without a plotting library: a page should open anywhere and weigh little."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path

from miaobi.training.tracking import read_lines

Points = list[tuple[float, float]]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 320, 150, 52, 22, 20


def read(metrics: Path) -> dict[str, Points]:
    """Series by name from a run's ``metrics.jsonl``: (step, value), held-out figures first."""
    trained: dict[str, Points] = {}
    held_out: dict[str, Points] = {}
    for entry in read_lines(metrics):
        step = float(entry.get("step", 0))
        for name, value in entry.get("evaluation", {}).items():
            _add(held_out, f"held-out {name}", step, value)
        for name, value in entry.items():
            if name not in ("step", "time", "notice", "evaluation") and not name.endswith("gradient_norm"):
                _add(trained, f"training {name}", step, value)
    return {name: points for name, points in (held_out | trained).items() if len(points) > 1}


def draw(name: str, points: Sequence[tuple[float, float]]) -> str:
    """One series as an SVG figure with its extremes labelled; at most 200 points are drawn."""
    points = points[:: math.ceil(len(points) / 200)]
    steps, values = [p[0] for p in points], [p[1] for p in points]
    low, high, last = min(values), max(values), max(*steps, 1.0)
    across, up = (WIDTH - LEFT - 8) / last, (HEIGHT - BOTTOM - TOP) / ((high - low) or 1.0)
    path = " ".join(f"{LEFT + x * across:.1f},{HEIGHT - BOTTOM - (y - low) * up:.1f}" for x, y in points)
    labels = [
        _text(LEFT, 12, name.replace("_", " "), "start"),
        _text(LEFT - 4, TOP + 4, f"{high:.3g}", "end"),
        _text(LEFT - 4, HEIGHT - BOTTOM, f"{low:.3g}", "end"),
        _text(WIDTH - 8, HEIGHT - 6, f"step {last:.0f}", "end"),
    ]
    axis = f'<path d="M{LEFT},{TOP}V{HEIGHT - BOTTOM}H{WIDTH - 8}" class="axis"/>'
    line = f'<polyline points="{path}" class="line"/>'
    return f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{axis}{line}{"".join(labels)}</svg>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _add(series: dict[str, Points], name: str, step: float, value: object) -> None:
    if isinstance(value, int | float) and math.isfinite(value):
        series.setdefault(name, []).append((step, float(value)))
