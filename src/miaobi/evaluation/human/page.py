"""The report of a rating study: one self-contained page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from miaobi.evaluation import report
from miaobi.evaluation.charts import short

if TYPE_CHECKING:
    from miaobi.evaluation.human.figures import Figure
    from miaobi.evaluation.human.results import Results

_HEADER = ("figure", "of", "value", "95 % interval", "p", "answers", "sets of items", "raters", "how")


def render(found: Results) -> str:
    """The whole page."""
    design = found.design
    verdicts = [f"{one.of}: {one.detail['verdict']}" for one in found.figures if one.detail and "verdict" in one.detail]
    sections = [
        report.prose("What was asked", design.question, *_facts(found)),
        report.prose("What was found", *verdicts, *found.notes),
        report.table("Figures", _HEADER, map(_row, found.figures)),
        report.table(
            "Raters",
            ("rater", "answered", "of", "catch trials right", "of", "same again", "of", "median seconds", "counts"),
            (
                (r.name, r.answered, r.trials, r.right, r.catches, r.same, r.repeats, r.seconds, r.why or "yes")
                for r in found.raters
            ),
            f"Random answers, given until it suits, would count with a chance of at most {short(found.guessing)}.",
        ),
    ]
    return report.page("Rated by people", sections, f"{design.task}: {', '.join(design.systems)}")


def lines(found: Results) -> list[tuple[str, ...]]:
    """Figures as rows of text for the command line, with their heading."""
    return [_HEADER[:6], *(tuple(map(_text, _row(figure)[:6])) for figure in found.figures)]


def _facts(found: Results) -> list[str]:
    design = found.design
    sets = f"{design.items} sets of items, one of each system, lengths within {design.length_ratio:g} times each other"
    given = "; made from the same conditions, which raters saw" if design.aligned else ""
    sources = "; ".join(f"{system}: {source}" for system, source in design.sources.items())
    looks = f" All were shown at {design.looks}." if design.looks else ""
    return [f"{sets}{given}.{looks} Order and sides were random for every rater (by the salt in study.json).", sources]


def _row(figure: Figure) -> tuple[object, ...]:
    interval = "" if figure.interval is None else f"{short(figure.interval[0])} to {short(figure.interval[1])}"
    p = "" if figure.p is None else short(figure.p)
    counts = figure.answers, figure.sets, figure.raters
    return figure.name, figure.of, figure.value, interval, p, *counts, figure.method


def _text(value: object) -> str:
    return short(value) if isinstance(value, float) else str(value)
