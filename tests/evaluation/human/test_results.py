"""Results of simulated raters of known ability: found again, with who was left out and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from miaobi.evaluation.human import Results, Role, Study, results
from miaobi.evaluation.human.records import REAL
from tests.evaluation.human.studies import SECRET, picture_study, simulated_answers, systems_of, text_study


def figure(found: Results, name: str, of: str = "") -> Any:
    return next(one for one in found.figures if (one.name, one.of) == (name, of))


def simulated_detectives(study: Study, ability: float, count: int) -> None:
    """Simulated raters who recognise the real item with probability ``ability``."""
    rng = np.random.default_rng(0)
    for number in range(count):

        def answer(shown: Any) -> str:
            right = shown.pieces[systems_of(study, shown).index(REAL)]
            wrong = next(id_ for id_ in shown.pieces if id_ != right)
            return right if rng.random() < ability else wrong

        simulated_answers(study, f"simulated {number}", answer)


def test_simulated_detectives_of_known_ability_are_found(tmp_path: Path) -> None:
    study = text_study(tmp_path, "real", n=40, systems=1)
    simulated_detectives(study, 0.8, 6)
    found = results(study.folder)
    accuracy = figure(found, "accuracy_against_real", SECRET)
    assert accuracy.interval[0] < 0.8 < accuracy.interval[1]
    assert accuracy.p < 1e-6
    assert (accuracy.answers, accuracy.sets, accuracy.raters) == (240, 40, 6)
    assert "told apart from real items" in accuracy.detail["verdict"]


def test_a_small_study_never_says_that_nobody_can_tell(tmp_path: Path) -> None:
    study = picture_study(tmp_path, "real", n=10)
    simulated_detectives(study, 0.5, 1)
    found = results(study.folder)
    verdict = figure(found, "accuracy_against_real", SECRET).detail["verdict"]
    assert "does not show that they cannot be" in verdict
    assert "four times in five" in verdict
    assert any("one rater" in note for note in found.notes)
    page = (study.folder / "report.html").read_text()
    assert "does not show that they cannot be" in page
    assert "indistinguishable" not in page + json.dumps(found.to_json())


def test_simulated_detectives_who_nearly_all_say_the_same_agree(tmp_path: Path) -> None:
    study = text_study(tmp_path, "real", n=40, systems=1)
    simulated_detectives(study, 0.95, 6)
    found = results(study.folder)
    assert figure(found, "pairwise_agreement").value == pytest.approx(0.905, abs=0.04)
    assert figure(found, "krippendorff_alpha_nominal").value == pytest.approx(0.81, abs=0.08)


def test_two_simulated_raters_leave_wide_intervals_within_the_scale(tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert", n=20, systems=1)
    for number, rating in enumerate(("2", "4")):
        simulated_answers(study, f"simulated {number}", lambda shown, rating=rating: rating)
    found = results(study.folder)
    assert figure(found, "mean_rating", SECRET).interval == (1, 5)
    assert any("2 raters" in note for note in found.notes)


def test_simulated_raters_who_prefer_a_system_are_found(tmp_path: Path) -> None:
    study = text_study(tmp_path, "pairs", n=25, systems=3, ties=True)
    strength = {SECRET: 1.0, "other-1": 0.0, "other-2": -1.0}
    rng = np.random.default_rng(1)

    def answer(shown: Any) -> str:
        left, right = (strength[system] for system in systems_of(study, shown))
        if rng.random() < 0.1:
            return "tie"
        return shown.pieces[int(rng.random() > 1 / (1 + np.exp(right - left)))]

    for number in range(6):
        simulated_answers(study, f"simulated {number}", answer)
    found = results(study.folder)
    rate = figure(found, "win_rate", f"{SECRET} over other-2")
    assert rate.interval[0] < 0.9 * (1 / (1 + np.exp(-2))) + 0.05 < rate.interval[1]
    assert rate.detail["wins"] + rate.detail["losses"] + rate.detail["ties"] == rate.answers == 150
    order = [figure(found, "log_strength", system).value for system in study.design.systems]
    assert order == sorted(order, reverse=True)
    best = figure(found, "preferred_to_others", SECRET)
    assert 0.5 < best.interval[0] < best.value < best.interval[1] < 1
    assert figure(found, "first_side").interval[0] < 0.5 < figure(found, "first_side").interval[1]
    # Chosen with chances 0.73, 0.73 and 0.88, and a tie in ten: two raters agree in 0.55 of the trials.
    assert figure(found, "pairwise_agreement").value == pytest.approx(0.55, abs=0.06)
    assert figure(found, "krippendorff_alpha_nominal").value == pytest.approx(0.23, abs=0.1)


def test_simulated_ratings_of_known_means_are_found(tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert", n=25, systems=1)
    truth = {SECRET: 2.2, REAL: 3.8}
    rng = np.random.default_rng(2)

    def answer(shown: Any) -> str:
        return str(int(np.clip(round(rng.normal(truth[systems_of(study, shown)[0]], 0.7)), 1, 5)))

    for number in range(6):
        simulated_answers(study, f"simulated {number}", answer)
    found = results(study.folder)
    for system, mean in truth.items():
        rating = figure(found, "mean_rating", system)
        assert rating.interval[0] < mean < rating.interval[1]
        assert sum(rating.detail["ratings"].values()) == 150
    difference = figure(found, "rating_difference", f"{SECRET} less {REAL}")
    assert difference.interval[1] < -1
    assert figure(found, "krippendorff_alpha_ordinal").value > 0.4
    assert 0.2 < figure(found, "same_when_repeated").value < 0.9


def test_raters_who_fail_catch_trials_are_left_out_and_counted(tmp_path: Path) -> None:
    study = text_study(tmp_path, "real", n=20, systems=1)

    def wrong(shown: Any) -> str:
        return str(shown.pieces[systems_of(study, shown).index(SECRET)])

    simulated_detectives(study, 1.0, 3)
    simulated_answers(study, "simulated careless", wrong, attentive=False)
    for shown in study.plan("simulated early")[:3]:
        study.add("simulated early", shown, shown.trial.expected or wrong(shown), 1)
    found = results(study.folder)
    assert figure(found, "accuracy_against_real", SECRET).value == 1.0
    assert found.kept == 3
    why = {rater.name: rater.why for rater in found.raters}
    assert why["simulated careless"] == "too many catch trials answered wrong"
    assert why["simulated early"] == "too few catch trials answered yet"
    data = json.loads((study.folder / "results.json").read_text())
    assert (data["kept"], data["left_out"]) == (3, 2)
    assert "80%" in data["rule"]
    assert data["guessing_passes"] == pytest.approx(14 / 64)
    assert "salt" not in data["design"]


def test_repeats_and_catch_trials_are_no_estimates(tmp_path: Path) -> None:
    study = text_study(tmp_path, "real", n=20, systems=1)

    def answer(shown: Any) -> str:
        right = shown.trial.role is Role.RATED
        return str(shown.pieces[systems_of(study, shown).index(REAL if right else SECRET)])

    simulated_answers(study, "simulated", answer)
    found = results(study.folder)
    assert figure(found, "accuracy_against_real", SECRET).value == 1.0
    assert figure(found, "same_when_repeated").value == 0.0


def test_no_answers_give_no_figures(tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert")
    found = results(study.folder)
    assert found.figures == []
    assert "No answers that count yet." in found.notes
    assert (study.folder / "report.html").is_file()


def test_names_are_escaped_in_the_report(tmp_path: Path) -> None:
    study = text_study(tmp_path, "likert", question="<b>bold</b>?")
    simulated_answers(study, "<script>alert(1)</script>", lambda shown: "3")
    results(study.folder)
    page = (study.folder / "report.html").read_text()
    assert "<script>" not in page
    assert "<b>bold" not in page
