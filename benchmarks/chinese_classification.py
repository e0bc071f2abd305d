"""Tang or Song: a masked language model and then a classifier, a public model that is asked, and counting.

The three recipes are tested on the very same poems, by poets of whom none was read: their split is made the same here,
with a test part small enough for the public model. Beside it, bits a byte of Tang poems: a small Transformer of our own
and the public model as it is. Runs and scores are kept under ``benchmarks/.work/chinese_classification``, so an
interrupted table goes on where it stopped. It takes over half an hour, so ``make bench`` leaves it out.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._common import Report, machine
from benchmarks._runs import folder_of, scored, seconds_of

THREADS = os.environ.get("MIAOBI_BENCH_THREADS", "2")
SHARE = os.environ.get("MIAOBI_BENCH_SHARE", "0.02")
CHANGES = tuple(os.environ.get("MIAOBI_BENCH_CHANGES", "").split())
"""More settings of every recipe, such as ``data.source=FILE`` to try the table on little."""
WORK = Path(__file__).parent / ".work" / "chinese_classification"
_SPLIT = (f"data.split={{by: hash, group: author, validation: {SHARE}, test: {SHARE}}}", f"train.threads={THREADS}")
WAYS = {
    "masked language model, then classifier": "text/poems-classifier",
    "SmolLM2-135M, 4 examples": "text/poems-dynasty-few-shot",
    "n-grams, naive Bayes": "text/poems-dynasty-ngram",
}
LEARNING = ("masked language model, then classifier", "n-grams, naive Bayes")
"""What has to be better than always saying the commonest class; what is asked was taught little Chinese."""
WRITING = {
    "own Transformer": ("text/tang-poems-transformer", ("data.condition={}", "train.minutes=8")),
    "SmolLM2-135M, as published": (
        "text/tang-poems-transformer",
        (
            "modality={name: text, max_length: 384}",
            "data.condition={}",
            "model={family: prompted, start: 'starter:smollm2'}",
            "train={batch_size: 64}",
            "tune={}",
        ),
    ),
}
COLUMNS = ["task", "way", "items", "accuracy", "macro F1", "bits a byte", "training, seconds"]


def main() -> None:
    told = {way: _scored(way, recipe, ("accuracy",), _SPLIT) for way, recipe in WAYS.items()}
    wrote = {
        way: _scored(way, recipe, ("likelihood",), (*changes, *_SPLIT)) for way, (recipe, changes) in WRITING.items()
    }
    floor = next(iter(told.values()))["scores"]
    rows = [_row("Tang or Song", way, found) for way, found in told.items()]
    rows.insert(0, ["Tang or Song", "the commonest class", "", *(f"{floor[n]['floor']:.3f}" for n in _TOLD), "", ""])
    rows += [_row("Tang poems", way, found) for way, found in wrote.items()]
    least = floor["accuracy"]["floor"]
    lows = {way: found["scores"]["accuracy"]["interval"][0] for way, found in told.items()}
    best = max(told, key=lambda way: float(told[way]["scores"]["accuracy"]["value"]))
    report = Report(
        "Chinese: telling dynasties apart, and writing poems",
        f"`{'`, `'.join(WAYS.values())}` on the same held-out poems ({SHARE} of them, poets held out whole), and "
        f"`text/tang-poems-transformer` beside a public model of mostly English; 95 % intervals; {THREADS} threads. "
        f"Above the commonest class beyond noise: {', '.join(way for way, low in lows.items() if low > least)}. "
        f"The most accurate: {best}. {machine()}",
        COLUMNS,
        rows,
    )
    counts = {found["scores"]["accuracy"]["protocol"]["samples"] for found in told.values()}
    report.checks[f"all were tested on as many poems: {sorted(counts)}"] = len(counts) == 1
    for way in LEARNING:
        report.checks[f"{way} is above the commonest class: {lows[way]:.3f} over {least:.3f}"] = lows[way] > least
    report.write()


_TOLD = ("accuracy", "macro_f1")


def _scored(way: str, recipe: str, metrics: Sequence[str], changes: Sequence[str]) -> dict[str, Any]:
    run = folder_of(WORK, way, recipe, (*changes, *CHANGES))
    return {**scored(run, recipe, (*changes, *CHANGES), metrics, THREADS), "seconds": seconds_of(run)}


def _row(task: str, way: str, found: dict[str, Any]) -> list[Any]:
    scores = found["scores"]
    said = [_figure(scores[name]) if name in scores else "" for name in (*_TOLD, "bits_per_byte")]
    count = next(iter(scores.values()))["protocol"]["samples"]
    return [task, way, f"{count:,}", *said, f"{found['seconds']:,.0f}"]


def _figure(score: dict[str, Any]) -> str:
    low, high = score["interval"]
    return f"{score['value']:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
