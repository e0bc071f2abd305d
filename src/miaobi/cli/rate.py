"""``miaobi rate``: let people judge, blinded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from miaobi.cli._shared import Json, Seed, answering, note, table, values
from miaobi.errors import InvalidRecipe

if TYPE_CHECKING:
    from miaobi.evaluation.human import Results, Study


def command(
    sources: Annotated[
        list[str],
        typer.Argument(metavar="MODEL|DIR...", help="Runs, models, folders of files; or a study, to go on with it."),
    ],
    task: Annotated[
        str | None,
        typer.Option(
            "--task", metavar="TASK", help="likert (1 to 5; the default), pairs (the better), real (which is)."
        ),
    ] = None,
    question: Annotated[str | None, typer.Option("--question", metavar="TEXT", help="Your own question.")] = None,
    n: Annotated[int | None, typer.Option("-n", min=1, metavar="N", help="Items of each source; default: 20.")] = None,
    raters: Annotated[str, typer.Option("--raters", metavar="NAMES", help="Names, with commas between.")] = "rater",
    real: Annotated[
        Path | None, typer.Option("--real", metavar="DIR", help="Real items; default: the first model's held-out ones.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", metavar="SOURCE", help="Other data than the models' own.")
    ] = None,
    ties: Annotated[bool, typer.Option("--ties", help="Pairs: allow the answer 'cannot tell'.")] = False,
    control: Annotated[
        list[str] | None, typer.Option("--control", metavar="K=V", help="A sampling control; may be repeated.")
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Folder of the study; default: rating/TIME.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the first rater's page.")] = False,
    show: Annotated[bool, typer.Option("--results", help="Only say what a study's answers say so far.")] = False,
    json: Json = False,
) -> None:
    """Serve a local page on which people rate items without knowing who made them; then the statistics."""
    from miaobi.evaluation.human import Study, rate, results, serve

    with answering(json) as answer:
        study_given = len(sources) == 1 and (Path(sources[0]) / "study.json").is_file()
        if show or study_given:
            making = {"--task": task, "--question": question, "-n": n, "--real": real, "--data": data, "-o": out}
            _check_study(sources, {**making, "--ties": ties or None, "--control": control})
            study = Study.open(sources[0])
        else:
            study = rate(
                sources,
                task=task or "likert",
                question=question,
                n=20 if n is None else n,
                out=out or Path("rating") / datetime.now().astimezone().strftime("%Y%m%d-%H%M%S"),
                real=real,
                data=data,
                ties=ties,
                seed=seed,
                controls=values(control, "--control"),
            )
        if not show:
            serve(study, raters.split(","), port=port, ready=lambda found: _ready(study, found, not no_browser))
        answer.give(*_answer(results(study.folder)))


def _check_study(sources: Sequence[str], making: dict[str, Any]) -> None:
    """A study is one folder, and what it asks is settled."""
    if len(sources) > 1:
        raise InvalidRecipe("--results takes one study", given=list(sources), cure="name its folder")
    given = [option for option, value in making.items() if value is not None]
    if given:
        raise InvalidRecipe("a study's questions are settled", given=given, cure="leave them out, or make another")


def _ready(study: Study, addresses: dict[str, str], browse: bool) -> None:
    note(f"study: {study.folder}; {len(study.trials)} trials for each rater; Ctrl-C stops, and the study can go on")
    for rater, address in addresses.items():
        note(f"{rater}: {address}")
    if browse:
        import webbrowser

        webbrowser.open(next(iter(addresses.values())))


def _answer(found: Results) -> tuple[dict[str, Any], list[str]]:
    from miaobi.evaluation.human.page import lines

    verdicts = [f"{one.of}: {one.detail['verdict']}" for one in found.figures if one.detail and "verdict" in one.detail]
    folder = found.folder
    more = [f"report: {folder / 'report.html'}", f"go on: miaobi rate {folder}"]
    return {**found.to_json(), "page": str(folder / "report.html")}, [
        *table(lines(found)),
        *verdicts,
        *found.notes,
        *more,
    ]
