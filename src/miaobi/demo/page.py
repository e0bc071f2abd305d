"""The demo's page: one HTML file with everything inside it, readable without a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from miaobi.demo.chapters import Sample, Shown
from miaobi.evaluation import charts, report
from miaobi.evaluation.report import Section

CURVES = 4
_PER_ROW = 8
_GRID = f"display: grid; grid-template-columns: repeat({_PER_ROW + 1}, max-content); gap: 3px; align-items: center"


def render(shown: Sequence[Shown], replaced: Iterable[str], commands: Iterable[str], *, quick: bool) -> str:
    """The whole page."""
    kind = "This was the quick demo: each model trained for seconds." if quick else "Each model trained for minutes."
    sections = [
        report.prose(
            "How to read it",
            f"{kind} All on this machine, from real data. Scores are on held-out items, beside what real data scores "
            "against real data at the same count.",
            *replaced,
        ),
        *(section for one in shown for section in _chapter(one)),
        report.commands("Try next", commands),
    ]
    return report.page("妙笔 miaobi: what three small models made", sections)


def _chapter(shown: Shown) -> list[Section]:
    licence = shown.info.get("licence")
    facts = [f"{shown.parameters:,} parameters", f"{shown.steps:,} steps", f"recipe {shown.chapter.recipe}"]
    note = ", ".join(facts) + (f"; data licence: {licence}" if licence else "")
    training, held_out = charts.read_log(shown.run / "metrics.jsonl")
    series = dict(list({**held_out, **training}.items())[:CURVES])
    return [
        _samples(shown, note),
        report.scores(f"{shown.title}: scores", shown.scores),
        report.curves(f"{shown.title}: training", series),
    ]


def _samples(shown: Shown, note: str) -> Section:
    headings = [_heading(sample) for sample in shown.samples]
    if len(headings) == _PER_ROW * len(set(headings)):
        return Section(shown.title, f'<div style="{_GRID}">{_rows(shown)}</div><p class="note">{escape(note)}</p>')
    items = [sample.item for sample in shown.samples]
    return report.samples(shown.title, items, shown.modality, headings, note)


def _rows(shown: Shown) -> str:
    cells = []
    for number, sample in enumerate(shown.samples):
        if number % _PER_ROW == 0:
            cells.append(f"<span>{escape(_heading(sample))}&nbsp;</span>")
        cells.append(shown.modality.html(sample.item))
    return "".join(cells)


def _heading(sample: Sample) -> str:
    return ", ".join(sample.conditions.values())
