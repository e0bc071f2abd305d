"""``report.html``: one self-contained page with a run's curves and its last samples."""

from __future__ import annotations

import base64
import html
import mimetypes
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miaobi.training.progress import duration
from miaobi.training.run_folder import RunFolder
from miaobi.training.tracking import read_lines

Point = tuple[float, float]
_WIDTH, _HEIGHT, _MARGIN = 420, 180, 8
_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "figure{display:inline-block;margin:0 1rem 1rem 0}svg{background:#f6f6f4}figcaption{font-size:.85rem}"
    "pre{white-space:pre-wrap}img{image-rendering:pixelated;width:128px}"
)
_LARGEST = 4 << 20


def page(folder: RunFolder, info: Mapping[str, Any]) -> str:
    """The page of a finished run."""
    lines = read_lines(folder.metrics)
    curves = "".join(_figure(name, points) for name, points in _curves(lines).items() if len(points) > 1)
    notices = "".join(f"<li>{html.escape(str(line['notice']))}</li>" for line in lines if "notice" in line)
    title = html.escape(folder.root.resolve().name)
    return (
        f"<!doctype html><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>"
        f"<p>{html.escape(_summary(info))}</p><h2>Curves</h2>{curves}"
        f"{f'<h2>Notices</h2><ul>{notices}</ul>' if notices else ''}"
        f"<h2>Samples</h2>{''.join(_shown(path) for path in _last_samples(folder.samples))}"
    )


def _summary(info: Mapping[str, Any]) -> str:
    best = info["best"]
    score = f"; best {best['metric']} {best['value']:.5g} at step {best['step']}" if best else ""
    family = info["recipe"]["model"]["family"]
    return f"{family}, {info['parameters']:,} parameters, {info['steps']} steps in {duration(info['seconds'])}{score}"


def _curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[Point]]:
    """Points by figure, held-out ones first; after a rollback the later value of a step counts."""
    found: dict[str, dict[float, float]] = defaultdict(dict)
    for line in sorted(lines, key=lambda line: "evaluation" not in line):
        figures = line.get("evaluation", {k: v for k, v in line.items() if k not in ("step", "time", "notice")})
        for name, value in figures.items():
            if isinstance(value, int | float):
                found[name][line["step"]] = value
    return {name: sorted(points.items()) for name, points in found.items()}


def _figure(name: str, points: Sequence[Point]) -> str:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    across, up = [_scale(x, xs, _WIDTH) for x in xs], [_HEIGHT - _scale(y, ys, _HEIGHT) for y in ys]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(across, up, strict=True))
    caption = f"{html.escape(name)}: {ys[0]:.4g} to {ys[-1]:.4g}, steps {xs[0]:g} to {xs[-1]:g}"
    return (
        f'<figure><svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{html.escape(name)}">'
        f'<polyline fill="none" stroke="#a33" stroke-width="1.5" points="{path}"/></svg>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _scale(value: float, values: Sequence[float], length: int) -> float:
    inner, low, high = length - 2 * _MARGIN, min(values), max(values)
    return _MARGIN + (inner * (value - low) / (high - low) if high > low else inner / 2)


def _last_samples(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*")) if folder.is_dir() else []
    last = paths[-1].name.partition("-")[0] if paths else ""
    return [path for path in paths if path.name.startswith(f"{last}-") and path.stat().st_size <= _LARGEST]


def _shown(path: Path) -> str:
    kind = mimetypes.guess_type(path.name)[0] or ""
    if kind.startswith("text/"):
        return f"<pre>{html.escape(path.read_text(encoding='utf-8', errors='replace'))}</pre>"
    data = base64.b64encode(path.read_bytes()).decode()
    if kind.startswith("image/"):
        return f'<img alt="{html.escape(path.name)}" src="data:{kind};base64,{data}">'
    if kind in ("audio/x-wav", "audio/wav", "audio/mpeg", "audio/flac"):
        return f'<audio controls src="data:{kind};base64,{data}"></audio>'
    return ""
