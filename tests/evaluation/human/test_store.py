"""Answers are on the disk at once, survive a crash, and are never taken twice."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from miaobi.errors import CorruptFile, DataError, InvalidRecipe, RunFolderError
from miaobi.evaluation.human import Study
from miaobi.evaluation.human.store import LONGEST, check_raters
from tests.evaluation.human.studies import picture_study, text_study


def test_a_study_reads_back_as_it_was(tmp_path: Path) -> None:
    study = text_study(tmp_path, "pairs", ties=True)
    again = Study.open(study.folder)
    assert again.design == study.design
    assert again.trials == study.trials
    assert again.pieces == study.pieces
    assert again.plan("ann") == study.plan("ann")


def test_answers_read_back_and_the_first_counts(tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert")
    first, second = study.plan("ann")[:2]
    assert study.answers() == []
    study.add("ann", first, "2", 1.25)
    study.add("ann", first, "5", 1.0)
    study.add("ann", second, "3", math.nan)
    study.add("bo", first, "4", -1)
    found = {(answer.rater, answer.trial): answer for answer in Study.open(study.folder).answers()}
    assert len(found) == 3
    assert found["ann", first.trial.key].choice == "2"
    assert found["ann", first.trial.key].seconds == 1.25
    assert found["ann", second.trial.key].seconds == LONGEST
    assert found["bo", first.trial.key].seconds == LONGEST


def test_a_line_that_was_cut_short_is_left_out_and_the_next_one_kept(tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert")
    first, second = study.plan("ann")[:2]
    study.add("ann", first, "2", 1)
    path = study.folder / "answers.jsonl"
    with path.open("ab") as stream:
        stream.write(b'{"rater": "ann", "tri')
    assert [answer.choice for answer in study.answers()] == ["2"]
    study.add("ann", second, "3", 1)
    assert [answer.choice for answer in study.answers()] == ["2", "3"]
    assert path.read_bytes().count(b"\n") == 2


def test_what_is_no_answer_is_refused(tmp_path: Path) -> None:
    study = text_study(tmp_path, "pairs")
    shown = study.plan("ann")[0]
    for wrong in ("tie", "1", "", "0" * 16):
        with pytest.raises(DataError, match="not an answer"):
            study.add("ann", shown, wrong, 1)
    assert not (study.folder / "answers.jsonl").exists()
    line = {"rater": "a", "trial": "t00000", "choice": "tie", "first": "", "seconds": 1, "time": ""}
    (study.folder / "answers.jsonl").write_text(json.dumps(line) + "\n")
    with pytest.raises(CorruptFile, match="line 1 is not an answer"):
        study.answers()


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no rating study here"):
        Study.open(tmp_path)
    (tmp_path / "study.json").write_text('{"format": 99}')
    with pytest.raises(RunFolderError, match="newer version"):
        Study.open(tmp_path)
    (tmp_path / "study.json").write_text('{"format": 1, "design": {}}')
    with pytest.raises(CorruptFile, match="not a rating study"):
        Study.open(tmp_path)


@pytest.mark.parametrize("name", ["../../private.png", "/etc/private.png", "link.png", "notes.txt", "sub/a.png", ".."])
def test_a_study_from_elsewhere_shows_only_its_own_media(name: str, tmp_path: Path) -> None:
    study = picture_study(tmp_path, "likert")
    for path in (tmp_path / "private.png", study.media / "notes.txt"):
        path.write_bytes(b"private")
    (study.media / "link.png").symlink_to(tmp_path / "private.png")
    path = study.folder / "study.json"
    data = json.loads(path.read_text())
    next(piece for piece in data["pieces"] if piece["file"])["file"] = name
    path.write_text(json.dumps(data))
    with pytest.raises(CorruptFile, match="not a medium of the study"):
        Study.open(study.folder)


def test_order_and_ids_follow_from_a_salt_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Real salts, not this folder's.
    monkeypatch.undo()
    first, second = text_study(tmp_path / "1", "pairs", seed=3), text_study(tmp_path / "2", "pairs", seed=3)
    assert len({first.design.salt, second.design.salt, f"{1:032x}", f"{2:032x}"}) == 4
    plans = [study.plan("ann") for study in (first, second, Study.open(first.folder))]
    assert plans[0] == plans[2]
    assert not {one.id for one in plans[0]} & {one.id for one in plans[1]}
    assert [one.trial.key for one in plans[0]] != [one.trial.key for one in plans[1]]
    assert not first.pieces.keys() & second.pieces.keys()


@pytest.mark.parametrize("names", [[], [""], ["a", "a "], ["a\nb"], ["x" * 41], [str(n) for n in range(201)]])
def test_raters_need_names_of_their_own(names: list[str]) -> None:
    with pytest.raises(InvalidRecipe, match="raters' names"):
        check_raters(names)
