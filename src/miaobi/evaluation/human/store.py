"""A study's folder: ``study.json``, ``media/`` and ``answers.jsonl``, to which one line is added an answer.

A line is on the disk before the rater sees the next trial, so that nothing is lost and a study goes on at any time.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from miaobi import locks
from miaobi.errors import CorruptFile, DataError, InvalidRecipe, RunFolderError, SaveFailed
from miaobi.evaluation.human.media import TYPES
from miaobi.evaluation.human.plan import Shown, choices, order
from miaobi.evaluation.human.records import Answer, Design, Piece, Trial

FORMAT = 1
MOST_RATERS = 200
LONGEST = 86_400.0
"""Seconds of one answer; a longer time, or one that is no number, counts as this."""
_LONGEST_NAME = 40
_LONGEST_LINE = 4096


class Study:
    """A study on the disk.

    Args:
        folder: its folder.
        design: what it asks.
        pieces: everything that may be shown.
        trials: the same for every rater.
    """

    def __init__(self, folder: Path, design: Design, pieces: Iterable[Piece], trials: Sequence[Trial]) -> None:
        self.folder, self.design, self.trials = folder, design, tuple(trials)
        self.pieces = {piece.id: piece for piece in pieces}
        self._lock = threading.Lock()

    @property
    def media(self) -> Path:
        """Where pictures, sounds and videos are."""
        return self.folder / "media"

    @contextmanager
    def served(self) -> Iterator[None]:
        """No other process serves the study meanwhile: of two answers to one trial the second would be lost.

        Raises:
            RunFolderError: one does so already.
        """
        lock = locks.take(self.folder / "serve.lock", wait=False)
        if lock is None:
            raise RunFolderError(
                "the study is being served already",
                given=str(self.folder),
                cure="name all raters in one call, with --raters, or stop the other one first",
            )
        try:
            yield
        finally:
            lock.release()

    @classmethod
    def open(cls, folder: Path | str) -> Study:
        """Read a study.

        Raises:
            RunFolderError: there is none, or it was written by a newer version.
            CorruptFile: it cannot be read.
        """
        path = Path(folder) / "study.json"
        if not path.is_file():
            raise RunFolderError("no rating study here", given=str(folder), cure="make one: miaobi rate MODEL")
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] > FORMAT:
                raise RunFolderError("the study was written by a newer version", given=data["format"])
            pieces = [_checked(Piece(**piece), Path(folder) / "media") for piece in data["pieces"]]
            return cls(
                Path(folder), Design.parse(data["design"]), pieces, [Trial.from_json(one) for one in data["trials"]]
            )
        except (OSError, KeyError, TypeError, ValueError, InvalidRecipe) as error:
            raise CorruptFile(f"{path} is not a rating study: {error!r}") from None

    def save(self) -> None:
        """Write ``study.json`` at once.

        Raises:
            SaveFailed: the disk is full or not writable.
        """
        data = {
            "format": FORMAT,
            "design": self.design.to_json(),
            "pieces": [asdict(piece) for piece in self.pieces.values()],
            "trials": [asdict(trial) for trial in self.trials],
        }
        path = self.folder / "study.json"
        fresh = path.with_suffix(".fresh")
        try:
            fresh.write_text(json.dumps(data, ensure_ascii=False, indent=1), encoding="utf-8")
            fresh.replace(path)
        except OSError as error:
            raise SaveFailed(f"could not write {path}: {error}", cure="free some disk space") from None

    def plan(self, rater: str) -> list[Shown]:
        """The rater's trials in order."""
        return order(self.design, self.trials, rater)

    def answers(self) -> list[Answer]:
        """Every answer, the first of each rater to each trial; a line that was cut short is left out.

        Raises:
            CorruptFile: a whole line that is no answer to a trial of this study.
        """
        path = self.folder / "answers.jsonl"
        if not path.is_file():
            return []
        *whole, _ = path.read_text(encoding="utf-8", errors="replace").split("\n")
        known = {trial.key: trial for trial in self.trials}
        found: dict[tuple[str, str], Answer] = {}
        for number, line in enumerate(whole, 1):
            if line:
                answer = _read(line, known, self.design, f"{path}, line {number}")
                found.setdefault((answer.rater, answer.trial), answer)
        return list(found.values())

    def add(self, rater: str, shown: Shown, choice: str, seconds: float) -> Answer:
        """Append an answer and wait until it is on the disk.

        Raises:
            DataError: an answer that the trial does not have.
            SaveFailed: the disk is full or not writable.
        """
        if choice not in choices(shown.trial, self.design):
            raise DataError("not an answer to this trial", given=choice)
        seconds = round(min(seconds, LONGEST), 3) if math.isfinite(seconds) and seconds >= 0 else LONGEST
        first = shown.pieces[0] if len(shown.pieces) > 1 else ""
        answer = Answer(rater, shown.trial.key, choice, first, seconds, datetime.now(UTC).isoformat(timespec="seconds"))
        path = self.folder / "answers.jsonl"
        try:
            with self._lock, path.open("ab+") as stream:
                _drop_cut_line(stream)
                stream.write(json.dumps(answer.to_json(), ensure_ascii=False).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise SaveFailed(f"could not write {path}: {error}", cure="free some disk space") from None
        return answer


def check_raters(names: Sequence[str]) -> tuple[str, ...]:
    """The names, stripped.

    Raises:
        InvalidRecipe: none, too many, one twice, or one that cannot be written on a line.
    """
    found = tuple(name.strip() for name in names)
    wrong = [name for name in found if not name or len(name) > _LONGEST_NAME or not name.isprintable()]
    if not found or len(found) > MOST_RATERS or len(set(found)) < len(found) or wrong:
        raise InvalidRecipe(
            "the raters' names cannot be used",
            given=list(names),
            allowed=f"1 to {MOST_RATERS} different names of 1 to {_LONGEST_NAME} printable characters",
        )
    return found


def _drop_cut_line(stream: BinaryIO) -> None:
    """Remove what a crash left of a last line: its rater was not told that it was saved."""
    end = stream.seek(0, os.SEEK_END)
    start = max(0, end - _LONGEST_LINE)
    stream.seek(start)
    tail = stream.read()
    if tail and not tail.endswith(b"\n"):
        stream.truncate(start + tail.rfind(b"\n") + 1)


def _checked(piece: Piece, media: Path) -> Piece:
    """Refuse a file that is not a medium right in the study's own folder: a study may come from anywhere."""
    name = Path(piece.file)
    inside = name.name == piece.file and (media / name).resolve().parent == media.resolve()
    if piece.file and not (inside and name.suffix in TYPES):
        raise ValueError(f"{piece.file} is not a medium of the study")
    return piece


def _read(line: str, known: dict[str, Trial], design: Design, where: str) -> Answer:
    try:
        data = json.loads(line)
        answer = Answer(**{field.name: data[field.name] for field in fields(Answer)})
        if answer.choice not in choices(known[answer.trial], design):
            raise ValueError(answer.choice)
        return answer
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFile(f"{where} is not an answer to a trial of this study: {error!r}") from None
