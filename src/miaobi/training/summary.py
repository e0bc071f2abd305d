"""``report.html`` of a run of stages: what each came to, where its own page is, and all about the last one's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from miaobi.evaluation import report
from miaobi.training.report import next_steps, results
from miaobi.training.run_folder import STAGES, RunFolder
from miaobi.training.scored import Known


def page(folder: RunFolder, stages: Mapping[str, Mapping[str, Any]], known: Known, samples: Sequence[Path]) -> str:
    """The page of a finished run; links lead to the stages' own pages in its folder.

    Args:
        folder: the run.
        stages: by name, in order, what each one's model says of itself.
        known: scores of the last one.
        samples: files of its last live samples.
    """
    entries = "".join(
        f'<li><a href="{STAGES}/{escape(name)}/report.html">{escape(name)}</a>: {escape(_said(info))}</li>'
        for name, info in stages.items()
    )
    sections = [
        report.Section("Stages", f"<ol>{entries}</ol>"),
        *results(list(stages.values())[-1], known, samples),
        next_steps(folder),
    ]
    return report.page(folder.root.resolve().name, sections, "The last stage's model is the run's.")


def _said(info: Mapping[str, Any]) -> str:
    best = info["best"]
    score = f"; best {best['metric']} {best['value']:.5g} at step {best['step']}" if best else ""
    return f"{info['recipe']['model']['family']}, {info['steps']} steps{score}"
