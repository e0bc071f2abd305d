"""``compare.html``: the table, the ranking and its rule, and samples side by side, in one file that fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from miaobi.evaluation import Score, report
from miaobi.evaluation.charts import short
from miaobi.training.facts import watt_hours
from miaobi.training.progress import duration

if TYPE_CHECKING:
    from miaobi.training.comparison import Comparison
    from miaobi.training.comparison.rows import Row

_LIKELIHOODS = ("bits_per_byte", "bits_per_dimension", "bits_per_event")
_DIVERSITY = ("distinct_4", "self_bleu", "recall", "trimmed_recall")
_COPIES = ("copied_share", "near_share", "pasted_share", "longest_copy", "stitched_share")
_REAL, _SHUFFLED = "real data", "shuffled training items"


def page(comparison: Comparison, shown: Mapping[str, Any], budget: str, estimates: Mapping[str, str]) -> str:
    """The page.

    Args:
        comparison: finished.
        shown: real and shuffled data, as `rows.references` gives them.
        budget: in words.
        estimates: of each run, made before the training.
    """
    rows = comparison.rows
    head, lines = table(comparison)
    sections = [
        report.prose("Result", comparison.ranking.summary),
        report.table("Table", head, lines, _about(comparison, budget)),
        report.prose("The rule", comparison.ranking.rule),
        report.table("Within noise", ("model", "rank", "tied with"), _ties(comparison)),
        report.table("Not ranked", ("model", "why"), _unranked(comparison)),
        report.table("Left out: figures that do not compare", ("model", "figure", "why"), _left_out(rows)),
        report.table("Notes", ("model", "note"), [(row.name, note) for row in rows for note in row.notes]),
        _side_by_side(rows, shown),
        *(_nearest(row) for row in rows),
        *(report.scores(f"Scores: {row.name}", row.scores) for row in rows),
        report.table("What was planned", ("model", "estimate"), estimates.items(), _PLANNED),
    ]
    return report.page("Comparison", sections, f"{len(rows)} models, {budget} each")


_PLANNED = "The budget was turned into steps once, by a rehearsal, before anything was trained."


def table(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """Header and lines: a model each, best first, then what real and shuffled data score."""
    found = [name for row in comparison.rows for name in row.scores]
    quality = comparison.ranking.quality.partition(".")[2]
    wanted = (quality, *_DIVERSITY, *_COPIES, *_LIKELIHOODS)
    figures = [name for name in dict.fromkeys(wanted) if name in found]
    ranks = {place.name: place.rank for place in comparison.ranking.places}
    rows = sorted(comparison.rows, key=lambda row: ranks.get(row.name, len(comparison.rows) + 1))
    head = ("rank", "model", "family", *figures, "parameters", "steps", "trained", "samples/s", "MB", "Wh (estimate)")
    lines = [_line(row, ranks.get(row.name), figures, comparison.watts) for row in rows]
    floors = [_floor(name, rows) for name in figures]
    unordered = [_value(comparison.shuffled) if name == quality else "" for name in figures]
    blank = ("",) * 6
    return head, [*lines, ("", _REAL, "", *floors, *blank), ("", _SHUFFLED, "", *unordered, *blank)]


def _line(row: Row, rank: int | None, figures: Sequence[str], watts: float) -> tuple[Any, ...]:
    values = [_value(row.scores[name]) if name in row.scores else _missing(row, name) for name in figures]
    speed = "" if row.samples_per_second is None else float(row.samples_per_second)
    cost = (row.parameters, row.steps, duration(row.seconds), speed, row.bytes / 1e6, watt_hours(row.seconds, watts))
    return ("-" if rank is None else rank, row.name, row.family + " (A0)" * row.baseline, *values, *cost)


def _value(score: Score) -> str:
    bound = "at most " if score.protocol.get("likelihood", "").startswith("upper bound") else ""
    interval = "" if score.interval is None else f" ({short(score.interval[0])} to {short(score.interval[1])})"
    return f"{bound}{short(score.value)}{interval}"


def _missing(row: Row, name: str) -> str:
    return "does not compare" if name in row.left_out else ""


def _floor(name: str, rows: Sequence[Row]) -> str:
    floors = [row.scores[name].floor for row in rows if name in row.scores]
    return next((short(floor) for floor in floors if floor is not None), "")


def _about(comparison: Comparison, budget: str) -> str:
    held = next((score.protocol for row in comparison.rows for score in row.scores.values()), None)
    counts = f"{held.get('samples')} samples of each model on the {held['split']} part" if held else "no samples"
    return (
        f"Budget: {budget} of training each; {counts}; in brackets the 95 % interval. Real data: training items "
        "in the samples' place, or the held-out items' own figure. Times were measured on this machine and differ from "
        f"run to run. Energy is an estimate, not a measurement: seconds of training times {comparison.watts:g} W, "
        "which is assumed. A likelihood that is only bounded says at most; families without one have none, and models "
        "of different kinds are not ranked by it."
    )


def _ties(comparison: Comparison) -> list[tuple[Any, ...]]:
    return [
        (place.name, place.rank, ", ".join(place.ties) or "none: the differences are beyond noise")
        for place in comparison.ranking.places
    ]


def _unranked(comparison: Comparison) -> list[tuple[str, str]]:
    return [(name, reason) for name, reasons in comparison.ranking.unranked.items() for reason in reasons]


def _left_out(rows: Sequence[Row]) -> list[tuple[str, str, str]]:
    return [(row.name, figure, why) for row in rows for figure, why in row.left_out.items()]


def _side_by_side(rows: Sequence[Row], shown: Mapping[str, Any]) -> report.Section:
    columns = {_REAL: shown["real"], **{row.name: row.shown for row in rows}, _SHUFFLED: shown["shuffled"]}
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    height = max(map(len, columns.values()), default=0)
    lines = "".join(
        f"<tr>{''.join(f'<td>{items[i] if i < len(items) else str()}</td>' for items in columns.values())}</tr>"
        for i in range(height)
    )
    note = '<p class="note">Item i of every model has the same seed and, where there are any, the same conditions.</p>'
    body = f'<div class="scroll"><table><tr>{head}</tr>{lines}</table></div>{note}'
    return report.Section("Samples side by side", body if height else "")


def _nearest(row: Row) -> report.Section:
    cards = "".join(
        f'<figure class="card"><div class="pair"><div>{left}</div><div>{right}</div></div>'
        f"<figcaption>{short(distance)} apart</figcaption></figure>"
        for left, right, distance in row.nearest
    )
    grid = f'<div class="grid" style="--cell: 20rem">{cards}</div>' if cards else ""
    return report.Section(f"Nearest to a training item: {row.name}", grid)
