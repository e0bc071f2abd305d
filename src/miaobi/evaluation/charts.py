"""Curves of a run as inline SVG, one small chart a figure."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

Point = tuple[float, float]
Series = dict[str, list[Point]]

_WIDTH, _HEIGHT = 340, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 10, 12, 24
_MOST_POINTS = 400


def read_log(path: Path) -> tuple[Series, Series]:
    """Training and held-out curves of a ``metrics.jsonl``: figure to (step, value), steps rising.

    Of a step that was run twice (after a rollback) the later value counts. A line that was cut short (the run was
    killed while writing it) and numbers that are not finite are left out.
    """
    training: dict[str, dict[float, float]] = {}
    evaluation: dict[str, dict[float, float]] = {}
    for line in _lines(path):
        step = line.get("step")
        if not _is_number(step):
            continue
        held_out = line.get("evaluation")
        if isinstance(held_out, Mapping):
            _collect(evaluation, step, held_out)
        else:
            _collect(training, step, {name: value for name, value in line.items() if name not in ("step", "time")})
    return _ordered(training), _ordered(evaluation)


def chart(name: str, points: Sequence[Point], axis: str = "step") -> str:
    """A ``figure`` with one curve, its range and its last value; extremes on hovering; empty without finite points.

    Args:
        name: caption.
        points: (step, value), steps rising; more than 400 are thinned, the last one kept.
        axis: what the steps are.
    """
    points = _thinned([point for point in points if all(map(math.isfinite, point))])
    if not points:
        return ""
    low, high = _range([y for _, y in points])
    first, last = points[0][0], points[-1][0]
    placed = [
        (_scale(x, first, last, _LEFT, _WIDTH - _RIGHT), _scale(y, high, low, _TOP, _HEIGHT - _BOTTOM))
        for x, y in points
    ]
    curve = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    end = placed[-1]
    caption = f"{name}: {short(points[-1][1])}"
    return (
        f'<figure class="card"><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(caption)}">'
        f"<title>{html.escape(_described(name, points, axis))}</title>{_axes(low, high, first, last, axis)}"
        f'<polyline class="curve" points="{curve}"/><circle cx="{end[0]:.1f}" cy="{end[1]:.1f}" r="2.5"/></svg>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def short(value: float) -> str:
    """A number with four significant digits."""
    return f"{value:.4g}"


def _axes(low: float, high: float, first: float, last: float, axis: str) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    return (
        f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none"/>'
        f'<text x="{_LEFT - 5}" y="{_TOP + 8}" text-anchor="end">{short(high)}</text>'
        f'<text x="{_LEFT - 5}" y="{bottom}" text-anchor="end">{short(low)}</text>'
        f'<text x="{_LEFT}" y="{bottom + 14}">{short(first)}</text>'
        f'<text x="{right}" y="{bottom + 14}" text-anchor="end">{html.escape(axis)} {short(last)}</text>'
    )


def _described(name: str, points: Sequence[Point], axis: str) -> str:
    low, high = (extreme(points, key=lambda point: point[1]) for extreme in (min, max))
    ends = f"{name}: from {short(points[0][1])} to {short(points[-1][1])}"
    return (
        f"{ends}, lowest {short(low[1])} at {axis} {short(low[0])}, highest {short(high[1])} at {axis} {short(high[0])}"
    )


def _thinned(points: list[Point]) -> list[Point]:
    stride = -(-len(points) // _MOST_POINTS)
    return points if stride <= 1 else [*points[:-1:stride], points[-1]]


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = abs(low) * 0.05 or 1.0
    return (low, high) if high > low else (low - pad, high + pad)


def _scale(value: float, low: float, high: float, start: float, stop: float) -> float:
    return (start + stop) / 2 if high == low else start + (value - low) / (high - low) * (stop - start)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as stream:
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                continue
            if isinstance(line, dict):
                yield line


def _collect(found: dict[str, dict[float, float]], step: float, figures: Mapping[str, Any]) -> None:
    for name, value in _flat(figures.items()):
        found.setdefault(name, {})[step] = value


def _ordered(found: Mapping[str, Mapping[float, float]]) -> Series:
    return {name: sorted(points.items()) for name, points in found.items()}


def _flat(items: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, float]]:
    for name, value in items:
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", number) for inner, number in _flat(value.items()))
        elif _is_number(value):
            yield name, float(value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
