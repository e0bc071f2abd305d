"""``report.html``: one self-contained page with a run's curves, its notices and its last samples."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from miaobi.evaluation import charts, report
from miaobi.training.progress import duration
from miaobi.training.run_folder import RunFolder
from miaobi.training.tracking import read_lines


def page(folder: RunFolder, info: Mapping[str, Any]) -> str:
    """The page of a finished run."""
    training, held_out = charts.read_log(folder.metrics)
    notices = [str(line["notice"]) for line in read_lines(folder.metrics) if "notice" in line]
    sections = [
        report.files("Samples", _last_samples(folder.samples), "Live samples of the last look at the run."),
        report.curves("Held out", held_out, "On the validation part, with the weights that would be shipped."),
        report.curves("Training", training),
        report.prose("Notices", *notices),
        report.commands(
            "Next",
            [
                (f"miaobi generate {folder.root}", "Make more:"),
                (f"miaobi evaluate {folder.root}", "Score it on the test part:"),
            ],
        ),
    ]
    return report.page(folder.root.resolve().name, sections, _summary(info))


def _summary(info: Mapping[str, Any]) -> str:
    best = info["best"]
    score = f"; best {best['metric']} {best['value']:.5g} at step {best['step']}" if best else ""
    family = info["recipe"]["model"]["family"]
    return f"{family}, {info['parameters']:,} parameters, {info['steps']} steps in {duration(info['seconds'])}{score}"


def _last_samples(folder: Path) -> list[Path]:
    paths = sorted(folder.glob("*")) if folder.is_dir() else []
    last = paths[-1].name.partition("-")[0] if paths else ""
    return [path for path in paths if path.name.startswith(f"{last}-")]
