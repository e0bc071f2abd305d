"""``report.html`` of a run of stages: what each came to, and where its own page is."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from miaobi.evaluation import report
from miaobi.recipe import Recipe
from miaobi.training.result import Result
from miaobi.training.run_folder import STAGES, RunFolder


def page(folder: RunFolder, recipes: Mapping[str, Recipe], results: Mapping[str, Result]) -> str:
    """The page of a finished run; links lead to the stages' own pages in its folder."""
    entries = "".join(
        f'<li><a href="{STAGES}/{escape(name)}/report.html">{escape(name)}</a>: '
        f"{escape(_said(recipes[name], result))}</li>"
        for name, result in results.items()
    )
    commands = [
        (f"miaobi generate {folder.root}", "Make more:"),
        (f"miaobi evaluate {folder.root}", "Score it on the test part:"),
    ]
    sections = [report.Section("Stages", f"<ol>{entries}</ol>"), report.commands("Next", commands)]
    return report.page(folder.root.resolve().name, sections, "The last stage's model is the run's.")


def _said(recipe: Recipe, result: Result) -> str:
    best = result.best
    score = f"; best {best['metric']} {best['value']:.5g} at step {best['step']}" if best else ""
    return f"{recipe.model.family}, {result.steps} steps{score}"
