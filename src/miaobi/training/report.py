"""``report.html``: one self-contained page with a run's samples, scores, curves, data, limits, cost and notices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from miaobi.evaluation import charts, report
from miaobi.evaluation.charts import short
from miaobi.training import facts
from miaobi.training.continual.gates import sentence
from miaobi.training.progress import duration
from miaobi.training.run_folder import RunFolder
from miaobi.training.scored import Known
from miaobi.training.tracking import read_lines


def page(folder: RunFolder, info: Mapping[str, Any], known: Known, samples: Sequence[Path]) -> str:
    """The page of a finished run without stages.

    Args:
        folder: the run.
        info: what its model says of itself.
        known: its scores.
        samples: files of the last live samples.
    """
    training, held_out = charts.read_log(folder.metrics)
    notices = [str(line["notice"]) for line in read_lines(folder.metrics) if "notice" in line]
    sections = [
        *results(info, known, samples),
        _gates(folder),
        report.curves("Held out", held_out, "On the validation part, with the weights that would be shipped."),
        report.curves("Training", training),
        report.prose("Notices", *notices),
        next_steps(folder),
    ]
    return report.page(folder.root.resolve().name, sections, _summary(info))


def results(info: Mapping[str, Any], known: Known, samples: Sequence[Path]) -> list[report.Section]:
    """What a model came to and from: samples, scores, nearest training items, limits, data, model, cost."""
    return [
        report.files("Samples", samples, "Live samples of the last look at the run."),
        report.scores("Scores", known.scores, "The latest of each figure; how it was got is behind a click."),
        report.measured_curves("Over a range", known.scores),
        report.paired_files("Nearest to training items", [_pair(*one) for one in known.nearest], _NEAREST),
        report.prose("Limits", *facts.limits(info, known.scores)),
        report.table("Data", (), list(facts.data(info).items())),
        report.table("Model", (), list(facts.model(info).items())),
        report.table("Cost", (), list(facts.cost(info).items())),
    ]


_NEAREST = "The generated items that are nearest to anything in the training data: left generated, right training."


def next_steps(folder: RunFolder) -> report.Section:
    """Commands that go on from here."""
    return report.commands(
        "Next",
        [
            (f"miaobi generate {folder.root}", "Make more:"),
            (f"miaobi evaluate {folder.root}", "Score it on the test part, here and in its model card:"),
        ],
    )


def _gates(folder: RunFolder) -> report.Section:
    """Of a refresh: what its gates measured."""
    verdict = json.loads(folder.gates.read_text(encoding="utf-8")) if folder.gates.is_file() else {"gates": []}
    return report.prose("Gates", *(sentence(gate) for gate in verdict["gates"]))


def _pair(generated: Path, training: Path, distance: float) -> tuple[Path, Path, str]:
    return generated, training, f"{short(distance)} apart"


def _summary(info: Mapping[str, Any]) -> str:
    best = info["best"]
    score = f"; best {best['metric']} {best['value']:.5g} at step {best['step']}" if best else ""
    family = info["recipe"]["model"]["family"]
    return f"{family}, {info['parameters']:,} parameters, {info['steps']} steps in {duration(info['seconds'])}{score}"
