"""`results`: what a study's answers say, with intervals, agreement, and who was left out by which rule."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from miaobi.errors import SaveFailed
from miaobi.evaluation.human import statistics
from miaobi.evaluation.human.figures import Figure, Seen, figures_of
from miaobi.evaluation.human.page import render
from miaobi.evaluation.human.raters import RULE, Rater, guessing, raters_of
from miaobi.evaluation.human.records import Design
from miaobi.evaluation.human.store import Study

_FEW_RATERS = 5


@dataclass(frozen=True, slots=True)
class Results:
    """What a study says so far.

    Attributes:
        folder: the study's; ``design``: what it asks.
        raters: everyone who answered.
        figures: of those who count.
        notes: what to keep in mind.
        guessing: at most how likely random answers are to count, whenever whoever gives them stops.
    """

    folder: Path
    design: Design
    raters: list[Rater]
    figures: list[Figure]
    notes: list[str]
    guessing: float

    @property
    def kept(self) -> int:
        """How many raters count."""
        return sum(rater.kept for rater in self.raters)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "study": str(self.folder),
            "raters_are": "people, by name, as whoever ran the study named them",
            # The salt would tell raters which side is which.
            "design": {key: value for key, value in self.design.to_json().items() if key != "salt"},
            "kept": self.kept,
            "left_out": len(self.raters) - self.kept,
            "rule": RULE,
            "guessing_passes": self.guessing,
            "raters": [asdict(rater) for rater in self.raters],
            "figures": [asdict(figure) for figure in self.figures],
            "notes": self.notes,
        }


def results(folder: Path | str) -> Results:
    """The statistics of a study's answers so far; written to its ``results.json`` and ``report.html``.

    Raises:
        RunFolderError: there is no study.
        CorruptFile: it cannot be read.
        SaveFailed: the disk is full or not writable.
    """
    study = Study.open(folder)
    answers = study.answers()
    raters = raters_of(study, answers)
    kept = {rater.name for rater in raters if rater.kept}
    seen = Seen.of(study, [answer for answer in answers if answer.rater in kept])
    figures = figures_of(study.design, seen) if seen.trials else []
    found = Results(
        study.folder,
        study.design,
        raters,
        [*figures, *_checks(raters)],
        _notes(study.design, raters, figures),
        guessing(study),
    )
    try:
        text = json.dumps(found.to_json(), ensure_ascii=False, indent=1)
        (study.folder / "results.json").write_text(text, encoding="utf-8")
        (study.folder / "report.html").write_text(render(found), encoding="utf-8")
    except OSError as error:
        raise SaveFailed(f"could not write the results: {error}", cure="free some disk space") from None
    return found


def _checks(raters: Sequence[Rater]) -> list[Figure]:
    """How often raters who count answered a repeated trial as before."""
    kept = [rater for rater in raters if rater.kept and rater.repeats]
    count = sum(rater.repeats for rater in kept)
    if not count:
        return []
    share = sum(rater.same for rater in kept) / count
    method = "95 %, Wilson; answers taken as independent"
    return [Figure("same_when_repeated", "", share, statistics.wilson(share, count), count, count, len(kept), method)]


def _notes(design: Design, raters: Sequence[Rater], figures: Sequence[Figure]) -> list[str]:
    kept = [rater for rater in raters if rater.kept]
    notes = [f"{len(kept)} of {len(raters)} raters count: {RULE}."]
    if not figures:
        notes.append("No answers that count yet.")
    if figures and len(kept) < _FEW_RATERS:
        of = "one rater: intervals are over items alone" if len(kept) == 1 else f"{len(kept)} raters"
        notes.append(f"From {of}, which says little about what other people would answer.")
    unfinished = sum(rater.answered < rater.trials for rater in kept)
    if unfinished:
        notes.append(f"{unfinished} of the raters who count have not finished.")
    if design.items < design.requested:
        notes.append(f"{design.items} sets of items of like length were found, of {design.requested} asked for.")
    return notes
