"""A curve over powers of two with its intervals, as inline SVG: title, axes with units, ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from miaobi.evaluation.charts import short

_WIDTH, _HEIGHT = 560, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 14, 46


@dataclass(frozen=True, slots=True)
class Point:
    """A measured value at ``x > 0`` with its 95 % interval, if it has one; ``label``: how ``x`` is written."""

    x: float
    y: float
    interval: tuple[float, float] | None = None
    label: str = ""


def curve(points: Sequence[Point], title: str, x_title: str, y_title: str) -> str:
    """A ``figure`` of points joined by a line, with a bar for each interval; the horizontal axis is logarithmic."""
    if not points:
        return ""
    ends = [end for point in points for end in (point.y, *(point.interval or ()))]
    low, high = _padded(min(ends), max(ends))
    first, last = points[0].x, points[-1].x

    def across(x: float) -> float:
        share = 0.5 if first == last else math.log(x / first) / math.log(last / first)
        return _LEFT + 12 + share * (_WIDTH - _RIGHT - _LEFT - 24)

    def down(y: float) -> float:
        return _TOP + (high - y) / (high - low) * (_HEIGHT - _BOTTOM - _TOP)

    line = " ".join(f"{across(point.x):.1f},{down(point.y):.1f}" for point in points)
    marks = "".join(_mark(point, across(point.x), down) for point in points)
    axes = _axes(low, high, down, [(across(point.x), point.label or short(point.x)) for point in points])
    return (
        f'<figure class="card" style="max-width:{_WIDTH + 24}px"><figcaption>{escape(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{axes}'
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x_title)}</text>'
        f'<text transform="translate(14 {(_TOP + _HEIGHT - _BOTTOM) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f'{escape(y_title)}</text><polyline class="curve" points="{line}"></polyline>{marks}</svg></figure>'
    )


def _mark(point: Point, x: float, down: Callable[[float], float]) -> str:
    told = f"{point.label or short(point.x)}: {short(point.y)}"
    bar = ""
    if point.interval is not None:
        low, high = point.interval
        told += f" ({short(low)} to {short(high)})"
        bar = f'<path class="curve" d="M{x:.1f} {down(low):.1f}V{down(high):.1f}" style="stroke-width:1"></path>'
    return f'{bar}<circle cx="{x:.1f}" cy="{down(point.y):.1f}" r="3"><title>{escape(told)}</title></circle>'


def _axes(low: float, high: float, down: Callable[[float], float], places: Sequence[tuple[float, str]]) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    rows = "".join(
        f'<path class="axis" d="M{_LEFT} {down(value):.1f}H{right}"></path>'
        f'<text x="{_LEFT - 6}" y="{down(value) + 3:.1f}" text-anchor="end">{value:.3g}</text>'
        for value in ticks(low, high)
    )
    columns = "".join(
        f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(label)}</text>' for x, label in places
    )
    return f'<path class="axis" d="M{_LEFT} {_TOP}V{bottom}" fill="none"></path>{rows}{columns}'


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``, at most six of them."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _padded(low: float, high: float) -> tuple[float, float]:
    pad = 0.06 * (high - low) or abs(low) * 0.05 or 1.0
    return low - pad, high + pad
