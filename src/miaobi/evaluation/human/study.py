"""`rate`: from models and folders to a study that can be served."""

from __future__ import annotations

import secrets
from collections.abc import Container, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from miaobi.errors import DataError, InvalidRecipe, RunFolderError, SaveFailed
from miaobi.evaluation.human import plan
from miaobi.evaluation.human.looks import alike
from miaobi.evaluation.human.matching import LENGTH_RATIO, matched
from miaobi.evaluation.human.media import breakage, piece
from miaobi.evaluation.human.records import REAL, Design, Piece, Task
from miaobi.evaluation.human.sources import Candidates, aligned, gather
from miaobi.evaluation.human.store import Study

MOST_ITEMS = 1000
_POOL = 4
_BROKEN_PLACES = 0.25
_NOUNS = {"text": "text", "image": "picture", "music": "piece of music", "speech": "recording", "video": "clip"}


def rate(
    sources: Sequence[str | Path],
    *,
    task: str = "likert",
    question: str | None = None,
    n: int = 20,
    out: Path | str,
    real: str | Path | None = None,
    data: str | None = None,
    ties: bool = False,
    seed: int = 0,
    controls: Mapping[str, Any] | None = None,
) -> Study:
    """Make a study: items of every source under the same conditions, matched in length, with catch trials.

    Args:
        sources: run folders, model folders, or folders of files of one kind.
        task: ``likert`` (1 to 5), ``pairs`` (the better of two) or ``real`` (the real one of two).
        question: in place of the task's own. One of your own gets attention checks only: what is broken may be the
            right answer to it.
        n: items of each source, 1 to 1,000; for pairs, of each pair of systems.
        out: folder for the study; created, and must not hold one.
        real: a folder of real items; default: the first model's held-out items.
        data: another source than the models' own for conditions and real items.
        ties: whether raters may answer that they cannot tell, for ``pairs``.
        seed: of items. Order and sides are random, and are kept in the study.
        controls: the families' sampling controls.

    Raises:
        RequestError: what cannot be rated so.
        SaveFailed: the disk is full or not writable.
    """
    wanted = _check(task, n, ties)
    folder = _fresh(Path(out))
    sets = n * len(sources) if wanted is Task.REAL else n
    found = gather(sources, _POOL * sets, real=real, data=data, seed=seed, controls=controls)
    found, looks = alike(_compared(found, wanted))
    together = aligned(found)
    lengths = [[one.modality.length(item) for item in one.items] for one in found]
    keys = [one.keys or [] for one in found] if together else None
    positions = matched(lengths, sets, keys=keys)
    if not positions:
        raise DataError(
            f"no items of like length: the longest of a set may be {LENGTH_RATIO:g} times its shortest",
            given={one.system: sorted(size) for one, size in zip(found, lengths, strict=True)},
            cure="ask for more items with -n, or bring the lengths nearer with a control",
        )
    counts = len(positions), sets
    design = _design(wanted, question, found, *counts, ties=ties, seed=seed, together=together, looks=looks)
    made = _make(folder, design, found, positions)
    made.save()
    return made


def _check(task: str, n: int, ties: bool) -> Task:
    if task not in list(Task):
        raise InvalidRecipe("not a rating task", given=task, allowed=list(Task))
    if not 1 <= n <= MOST_ITEMS:
        raise InvalidRecipe("the number of items is out of range", given=n, allowed=f"1 to {MOST_ITEMS:,}")
    if ties and task != Task.PAIRS:
        raise InvalidRecipe("only pairs may be answered by 'cannot tell'", given=task, cure="leave ties out")
    return Task(task)


def _fresh(folder: Path) -> Path:
    if (folder / "study.json").exists():
        raise RunFolderError("there is a study already", given=str(folder), cure="name another folder, or serve it")
    try:
        (folder / "media").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveFailed(f"could not make {folder}: {error}") from None
    return folder


def _compared(found: Sequence[Candidates], task: Task) -> list[Candidates]:
    """What the study compares: real items beside models in Likert and ``real``, in pairs only beside a single one."""
    models = [one for one in found if one.system != REAL]
    if task is Task.PAIRS and len(models) > 1:
        return models
    if len(models) == len(found) and task is not Task.LIKERT:
        raise DataError(
            "there are no real items to compare with",
            given=[one.source for one in found],
            cure="name a folder of them with --real, or a model, whose held-out items are",
        )
    return list(found)


def _design(
    task: Task,
    question: str | None,
    found: Sequence[Candidates],
    items: int,
    requested: int,
    *,
    ties: bool,
    seed: int,
    together: bool,
    looks: str,
) -> Design:
    kind = found[0].modality.name
    own = {
        Task.LIKERT: f"How good is this {_NOUNS[kind]}?",
        Task.PAIRS: f"Which {_NOUNS[kind]} is better?",
        Task.REAL: f"One {_NOUNS[kind]} is real, the other was made by a machine. Which one is real?",
    }
    ends = {"low": "bad", "high": "good"} if question is None else {"low": "not at all", "high": "very much"}
    return Design.parse(
        {
            "task": task,
            "question": own[task] if question is None else question,
            "own_question": question is not None,
            "systems": tuple(one.system for one in found),
            "modality": kind,
            "items": items,
            "requested": requested,
            "length_ratio": LENGTH_RATIO,
            "aligned": together,
            "ties": ties,
            "seed": seed,
            "salt": secrets.token_hex(16),
            "looks": looks,
            "sources": {one.system: one.source for one in found},
            **ends,
        },
        "study",
    )


def _make(folder: Path, design: Design, found: Sequence[Candidates], positions: Sequence[tuple[int, ...]]) -> Study:
    sets = [
        {
            one.system: _piece(folder / "media", design, one, position)
            for one, position in zip(found, chosen, strict=True)
        }
        for chosen in positions
    ]
    trials = plan.rated(design, sets)
    used = {chosen[-1] for chosen in positions}
    broken = _broken(folder / "media", design, found[-1], used, plan.catches(len(trials)) // 2)
    trials += plan.extras(design, trials, broken)
    shown = [*(one for found in sets for one in found.values()), *(one for pair in broken for one in pair)]
    seen = {id_ for trial in trials for id_ in trial.pieces}
    return Study(folder, design, [one for one in [*shown, *plan.instructions(design)] if one.id in seen], trials)


def _broken(
    folder: Path, design: Design, source: Candidates, used: Container[int], most: int
) -> list[tuple[Piece, Piece]]:
    """Items that no other trial shows (of real data, where there is some), each with its broken self."""
    if design.own_question and design.task is not Task.REAL:
        return []
    unused = (row for row in range(len(source.items)) if row not in used)
    rows = list(islice((row for row in unused if breakage(source.items[row]) >= _BROKEN_PLACES), most))
    return [(_piece(folder, design, source, row), _piece(folder, design, source, row, broken=True)) for row in rows]


def _piece(folder: Path, design: Design, source: Candidates, position: int, *, broken: bool = False) -> Piece:
    return piece(
        source.modality,
        source.items[position],
        folder,
        system=source.system,
        key=f"{'broken ' if broken else ''}{source.system} {position}",
        salt=design.salt,
        given=source.given[position] if design.aligned else "",
        broken=broken,
    )
