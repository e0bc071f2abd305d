"""The demo's page: one HTML file with everything inside it, readable without a network."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from miaobi.demo import curves
from miaobi.demo.chapters import Sample, Shown
from miaobi.evaluation import Score

STYLE = """
:root { color-scheme: light dark; --line: #2b6cb0; --faint: #8888; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--faint); }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
pre { white-space: pre-wrap; font-family: inherit; margin: 0; }
.samples { display: flex; flex-wrap: wrap; gap: 1.2rem; } .samples h4 { margin: 0 0 .2rem; font-size: 1rem; }
.grid { display: grid; grid-template-columns: max-content repeat(8, max-content); gap: 3px 3px; align-items: center; }
.grid img { display: block; width: 56px !important; } .grid span { padding-right: .8rem; }
figure { margin: 0; } .curves { display: flex; flex-wrap: wrap; gap: 1rem; }
.curve { width: 320px; } .curve text { font-size: 11px; fill: currentColor; }
.curve .axis { fill: none; stroke: var(--faint); } .curve .line { fill: none; stroke: var(--line); stroke-width: 1.5; }
code { background: #8882; padding: .1rem .3rem; } .note { color: #b7791f; }
"""
CURVES = 4


def render(shown: Sequence[Shown], replaced: Iterable[str], commands: Iterable[str], *, quick: bool) -> str:
    """The whole page."""
    notes = "".join(f'<p class="note">{html.escape(text)}</p>' for text in replaced)
    kind = "This was the quick demo: each model trained for seconds." if quick else "Each model trained for minutes."
    tries = "".join(f"<li><code>{html.escape(command)}</code></li>" for command in commands)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>miaobi demo</title>'
        f"<style>{STYLE}</style></head><body><h1>妙笔 miaobi: what three small models made</h1>"
        f"<p>{kind} All on this machine, from real data. Scores are on held-out items; each floor is what real data "
        f"scores against real data.</p>{notes}{''.join(map(_chapter, shown))}"
        f"<h2>Try next</h2><ol>{tries}</ol></body></html>"
    )


def _chapter(shown: Shown) -> str:
    licence = shown.info.get("licence")
    facts = [f"{shown.parameters:,} parameters", f"{shown.steps:,} steps", f"recipe {shown.chapter.recipe}"]
    series = list(curves.read(shown.run / "metrics.jsonl").items())[:CURVES]
    drawn = "".join(curves.draw(name, points) for name, points in series)
    return (
        f"<h2>{html.escape(shown.title)}</h2><p>{html.escape(', '.join(facts))}"
        f"{html.escape(f'; data licence: {licence}') if licence else ''}</p>"
        f'{_samples(shown)}<h3>Scores</h3>{_scores(shown)}<h3>Training</h3><div class="curves">{drawn}</div>'
    )


def _samples(shown: Shown) -> str:
    if len(shown.samples) > 2 * len({_heading(sample) for sample in shown.samples}):
        return _grid(shown)
    parts = (
        f"<div><h4>{html.escape(_heading(sample))}</h4>{shown.modality.html(sample.item)}</div>"
        for sample in shown.samples
    )
    return f'<div class="samples">{"".join(parts)}</div>'


def _grid(shown: Shown) -> str:
    cells, last = [], None
    for sample in shown.samples:
        if _heading(sample) != last:
            last = _heading(sample)
            cells.append(f"<span>{html.escape(last)}</span>")
        cells.append(shown.modality.html(sample.item))
    return f'<div class="grid">{"".join(cells)}</div>'


def _heading(sample: Sample) -> str:
    return ", ".join(sample.conditions.values())


def _scores(shown: Shown) -> str:
    rows = "".join(_row(name, score) for name, score in shown.scores.items())
    return f"<table><tr><th>figure</th><th>value</th><th>95 % interval</th><th>floor</th><th>of</th></tr>{rows}</table>"


def _row(name: str, score: Score) -> str:
    interval = "" if score.interval is None else f"{score.interval[0]:.4g} to {score.interval[1]:.4g}"
    floor = "" if score.floor is None else f"{score.floor:.4g}"
    count = score.protocol.get("samples")
    cells = [name.replace("_", " "), f"{score.value:.4g}", interval, floor, f"{count} items" if count else ""]
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
