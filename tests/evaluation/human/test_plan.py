"""Trials: balanced, random for each rater, matched in length, with catch trials whose answers are known."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.evaluation.human import Role, Task, plan
from miaobi.evaluation.human.matching import matched
from miaobi.evaluation.human.media import breakage, scrambled
from miaobi.evaluation.human.records import CATCHES, REAL
from tests.evaluation.human.studies import SECRET, picture_study, rated, systems_of, text_study

LENGTHS = st.lists(st.integers(0, 400), min_size=1, max_size=30)


@given(st.lists(LENGTHS, min_size=2, max_size=3), st.integers(1, 40), st.booleans())
def test_sets_are_of_like_length_and_use_a_position_once(lengths: list[list[int]], count: int, keyed: bool) -> None:
    keys = [[str(position % 3) for position in range(len(sizes))] for sizes in lengths]
    found = matched(lengths, count, keys=keys if keyed else None, ratio=1.25)
    assert len(found) <= min(count, *map(len, lengths))
    for system, sizes in enumerate(lengths):
        used = [chosen[system] for chosen in found]
        assert len(set(used)) == len(used)
        assert all(0 <= position < len(sizes) for position in used)
    for chosen in found:
        sizes = [max(1, lengths[system][position]) for system, position in enumerate(chosen)]
        assert max(sizes) <= 1.25 * min(sizes) + 1e-6
        assert not keyed or len({position % 3 for position in chosen}) == 1


def test_matching_finds_what_is_there() -> None:
    assert sorted(matched([[10, 100, 1000], [1000, 10, 100]], 9)) == [(0, 1), (1, 2), (2, 0)]
    assert matched([[10, 100], [100, 10]], 9, keys=[["a", "b"]] * 2) == []
    assert matched([[10, 11], [11, 10]], 9, keys=[["a", "b"]] * 2) == [(0, 0), (1, 1)]


def test_lengths_of_a_study_give_nothing_away(tmp_path: Path) -> None:
    study = text_study(tmp_path, "real", n=30, systems=1)
    ours, real = [], []
    for trial in study.trials:
        if trial.role is Role.RATED:
            left, right = (study.pieces[id_].length for id_ in trial.pieces)
            assert max(left, right) <= 1.25 * min(left, right)
            ours.append(left)
            real.append(right)
    assert abs(np.log(np.array(ours) / np.array(real)).mean()) < 0.06, "neither side is the longer one"


def test_every_rater_has_an_order_and_sides_of_their_own(tmp_path: Path) -> None:
    study = text_study(tmp_path, "real", n=40, systems=1)
    ann, again, bo = study.plan("ann"), study.plan("ann"), study.plan("bo")
    assert ann == again
    assert [one.trial.key for one in ann] != [one.trial.key for one in bo]
    assert {one.trial for one in ann} == {one.trial for one in bo} == set(study.trials)
    assert not {one.id for one in ann} & {one.id for one in bo}
    for planned in (ann, bo):
        first = [systems_of(study, one)[0] == REAL for one in planned if one.trial.role is Role.RATED]
        assert 8 <= sum(first) <= 32, "sides are random"
        places = {one.trial.key: place for place, one in enumerate(planned)}
        sides = {one.trial.key: one.pieces for one in planned}
        repeats = [one.trial for one in planned if one.trial.of]
        assert len(repeats) == 4
        assert all(places[trial.of] < places[trial.key] for trial in repeats)
        assert all(sides[trial.of] == sides[trial.key][::-1] for trial in repeats)


def test_pairs_are_every_pair_and_a_real_item_is_seen_once(tmp_path: Path) -> None:
    study = text_study(tmp_path / "pairs", "pairs", n=5, systems=3)
    shown = Counter(tuple(study.pieces[id_].system for id_ in t.pieces) for t in study.trials if t.role is Role.RATED)
    assert list(shown.values()) == [5, 5, 5]
    assert len(shown) == 3
    study = text_study(tmp_path / "real", "real", n=5, systems=2)
    reals = [trial.pieces[1] for trial in study.trials if trial.role in (Role.RATED, Role.BROKEN)]
    assert rated(study) == 10
    assert len(set(reals)) == len(reals)


@pytest.mark.parametrize("task", list(Task))
def test_catch_trials_have_one_known_answer(task: Task, tmp_path: Path) -> None:
    study = text_study(tmp_path, task, n=10)
    caught = [trial for trial in study.trials if trial.role in CATCHES]
    assert len(caught) == plan.catches(rated(study))
    assert {trial.role for trial in caught} == CATCHES
    for trial in caught:
        answers = plan.choices(trial, study.design)
        right = [answer for answer in answers if trial.passed(answer)]
        assert 1 <= len(right) < len(answers)
        texts = {id_: study.pieces[id_].text for id_ in trial.pieces}
        if trial.role is Role.BROKEN:
            intact, broken = texts.values() if task is not Task.LIKERT else (None, next(iter(texts.values())))
            assert intact is None or (Counter(intact) == Counter(broken) and intact != broken)
            assert task is Task.LIKERT or right == [trial.pieces[0]]
        elif task is Task.LIKERT:
            assert f"choose {right[0]}." in next(iter(texts.values()))
        else:
            assert texts[right[0]].endswith("Please choose this side.")


def test_a_question_of_ones_own_has_attention_checks_only(tmp_path: Path) -> None:
    study = text_study(tmp_path, "pairs", question="Which one is the stranger?")
    assert {trial.role for trial in study.trials} == {Role.RATED, Role.REPEAT, Role.INSTRUCTION}
    assert study.design.question == "Which one is the stranger?"


def test_guessing_rarely_passes(tmp_path: Path) -> None:
    study = text_study(tmp_path, "real", n=10, systems=1)
    caught = [trial for trial in study.trials if trial.role in CATCHES]
    # By counting: of the 64 ways to guess six, those in which at some time three or more were answered, and four in
    # five of them right.
    ways = list(product([0, 1], repeat=6))
    counted = sum(any(sum(way[:k]) >= 0.8 * k - 1e-9 for k in range(3, 7)) for way in ways)
    assert plan.guessing_passes(caught, study.design, 0.8, 0.5) == pytest.approx(counted / 64) == 14 / 64
    assert plan.guessing_passes(caught, study.design, 0.8, 1.0) == pytest.approx(7 / 64), "five or six right of six"
    likert = text_study(tmp_path / "likert", "likert", n=10)
    caught = [trial for trial in likert.trials if trial.role in CATCHES]
    rng, passed = np.random.default_rng(0), 0
    odds = [sum(map(t.passed, plan.choices(t, likert.design))) / 5 for t in caught]
    for _ in range(2000):
        right = (rng.random(len(odds)) < rng.permutation(odds)).cumsum() / np.arange(1, len(odds) + 1)
        passed += (right[(len(odds) - 1) // 2 :] >= 0.8).any()
    assert plan.guessing_passes(caught, likert.design, 0.8, 0.5) > passed / 2000


def test_media_say_nothing_of_their_maker(tmp_path: Path) -> None:
    study = picture_study(tmp_path, "real")
    files = list(study.media.iterdir())
    assert len({path.stat().st_size for path in files}) == 1, "the size of a picture's file hangs on its sides alone"
    assert all(SECRET.encode() not in path.read_bytes() for path in files)
    assert all(len(path.stem) == 16 and int(path.stem, 16) >= 0 for path in files)
    assert len({path.read_bytes() for path in files}) == len(files)


def test_scrambling_keeps_everything_but_order() -> None:
    picture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    found = scrambled(picture, 3)
    assert found.shape == picture.shape
    assert sorted(map(tuple, found.reshape(-1, 3))) == sorted(map(tuple, picture.reshape(-1, 3)))
    assert not np.array_equal(found, picture)
    assert np.array_equal(found, scrambled(picture, 3))


def test_what_cannot_be_broken_is_known() -> None:
    assert breakage("*" * 40) == 0
    assert breakage(np.zeros((8, 8, 1), np.uint8)) == 0
    assert breakage("The quick brown fox jumps over the lazy dog") > 0.5
