"""From what was found to a `Report`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from miaobi.data.encoding import describe_sample
from miaobi.data.plan import Plan
from miaobi.data.reading import PARTS, LabelCodes, Removed, Staged
from miaobi.data.report import Report
from miaobi.data.survey import Survey
from miaobi.data.text_stream import StagedText
from miaobi.modalities._base import quantiles

_CLASSES = 100
_STREAM_SAMPLE = 200
_STREAM_PIECE = 2000
_NOTHING: dict[str, Any] = {"count": 0, "examples": []}


def item_report(plan: Plan, survey: Survey, left_out: Removed | None = None) -> Report:
    """The report of separate items."""
    staged, found = survey.staged, survey.duplicates
    described = dict(describe_sample(plan, survey))
    content = described.pop("target")
    content.pop("length", None)
    return Report(
        _head(plan)
        | {
            "items": {"read": _read(staged), "kept": len(found.kept)},
            "bytes": staged.bytes,
            "lengths": quantiles(staged.lengths[found.kept].tolist()),
            "extremes": _extremes(staged, found.kept),
            "unreadable": staged.unreadable.to_json() | {"share": staged.unreadable.count / max(1, _read(staged))},
            "too_short": staged.too_short.to_json(),
            "too_long": staged.too_long.to_json(),
            "left_out": (left_out or Removed()).to_json(),
            "duplicates": {"exact": found.exact.to_json(), "near": found.near.to_json(), "near_kept": found.near_kept},
            "content": content,
            "conditions": {name.removeprefix("condition."): value for name, value in described.items()},
            "labels": {
                name.removeprefix("condition."): _label_report(codes, found.kept)
                for name, codes in staged.labels.items()
            },
            "split": _split_report(plan, survey),
            "notes": [*survey.assignment.notes, *_leak_notes(survey)],
        }
    )


def stream_report(plan: Plan, staged: StagedText, tokens: Mapping[str, int] | None = None) -> Report:
    """The report of one long text."""
    counts = {part: {"characters": staged.size(part)} for part in PARTS}
    for part, count in (tokens or {}).items():
        counts[part]["tokens"] = count
    pieces = [text[:_STREAM_PIECE] for text in _spread(staged)]
    content = plan.modality.describe(pieces)
    content.pop("length", None)
    notes = (
        ["one text is split by position: its last characters are held out"] if plan.settings.split.by == "hash" else []
    )
    return Report(
        _head(plan)
        | {
            "items": {"characters": staged.characters},
            "bytes": staged.bytes,
            "unreadable": staged.unreadable.to_json(),
            "too_short": _NOTHING,
            "too_long": _NOTHING,
            "left_out": _NOTHING,
            "duplicates": {"exact": _NOTHING, "near": _NOTHING, "near_kept": 0},
            "content": content,
            "conditions": {},
            "labels": {},
            "split": {"by": plan.split.by, "sizes": counts, "difference": {}},
            "notes": notes,
        }
    )


def _head(plan: Plan) -> dict[str, Any]:
    ignored = plan.source.ignored
    return {
        "source": plan.source.name,
        "licence": plan.source.licence,
        "modality": plan.modality.name,
        "ignored": {"count": ignored.count, "suffixes": dict(ignored.suffixes), "examples": ignored.examples},
    }


def _read(staged: Staged) -> int:
    return len(staged) + staged.unreadable.count + staged.too_short.count + staged.too_long.count


def _extremes(staged: Staged, kept: np.ndarray) -> dict[str, Any]:
    """The three shortest and the three longest items by name: where outliers show."""
    order = kept[np.argsort(staged.lengths[kept], kind="stable")]
    ends = {"shortest": order[:3].tolist(), "longest": order[::-1][:3].tolist()}
    return {
        name: [
            {"where": where, "length": int(staged.lengths[row])}
            for row, where in zip(rows, staged.shelf.values("where", rows), strict=True)
        ]
        for name, rows in ends.items()
    }


def _label_report(codes: LabelCodes, kept: np.ndarray) -> dict[str, Any]:
    """Counts of the commonest classes, and balance: entropy over that of equal classes."""
    counts = codes.counts(kept)
    names = [name.decode("utf-8", "replace") for name in codes.names]
    order = np.argsort(-counts, kind="stable")
    shares = counts[counts > 0] / max(1, counts.sum())
    entropy = float(-(shares * np.log(shares)).sum())
    return {
        "classes": int((counts > 0).sum()),
        "balance": entropy / np.log(len(shares)) if len(shares) > 1 else 1.0,
        "counts": {names[place]: int(counts[place]) for place in order[:_CLASSES]},
    }


def _split_report(plan: Plan, survey: Survey) -> dict[str, Any]:
    rows = {part: survey.rows(part) for part in PARTS}
    _, sizes = np.unique(survey.duplicates.groups, return_counts=True)
    return {
        "by": plan.split.by,
        "sizes": {part: len(found) for part, found in rows.items()},
        "groups": len(sizes),
        "largest_group": int(sizes.max()),
        "difference": {
            part: _difference(survey.staged, rows["train"], found)
            for part, found in rows.items()
            if part != "train" and len(found) and len(rows["train"])
        },
    }


def _difference(staged: Staged, train: np.ndarray, held: np.ndarray) -> dict[str, float]:
    """How far a held-out part is from training: 0 the same, 1 apart.

    ``length`` is the Kolmogorov-Smirnov statistic; a label's is the total variation distance of the classes' shares.
    """
    found = {"length": _kolmogorov_smirnov(staged.lengths[train], staged.lengths[held])}
    for name, codes in staged.labels.items():
        one, other = codes.counts(train), codes.counts(held)
        shares = one / max(1, one.sum()) - other / max(1, other.sum())
        found[name.removeprefix("condition.")] = float(np.abs(shares).sum() / 2)
    return found


def _kolmogorov_smirnov(left: np.ndarray, right: np.ndarray) -> float:
    points = np.union1d(left, right)
    one, other = (np.searchsorted(np.sort(values), points, side="right") / len(values) for values in (left, right))
    return float(np.abs(one - other).max())


def _leak_notes(survey: Survey) -> list[str]:
    """What a split that is not by hash lets through: subjects that are in training too."""
    targets = survey.staged.sides[survey.staged.subject]
    train = np.unique(targets[survey.rows("train")])
    shared = {part: int(np.isin(targets[survey.rows(part)], train).sum()) for part in PARTS if part != "train"}
    return [
        f"{count} {part} items have a {survey.staged.subject.removeprefix('condition.')} that training has too"
        for part, count in shared.items()
        if count
    ]


def _spread(staged: StagedText) -> list[str]:
    count = len(staged.shelf)
    rows = np.unique(np.linspace(0, count - 1, min(count, _STREAM_SAMPLE)).astype(np.int64))
    found: list[str] = staged.shelf.values("text", rows.tolist())
    return found
