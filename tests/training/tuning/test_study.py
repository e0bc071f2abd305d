import json
import math
from dataclasses import replace

import pytest
from optuna.trial import TrialState

from miaobi.errors import CorruptFile, Diverged, InvalidRecipe, RunFolderError, SaveFailed
from miaobi.recipe import Recipe
from miaobi.training.tuning.searching import PRUNED, search
from miaobi.training.tuning.study_folder import StudyFolder
from miaobi.training.watching import Look
from tests.training.tuning.stand_ins import EVALUATIONS, RECIPE, Pretend, course, design_of, loss, searched, study_in


def silent(text):
    pass


def states(study):
    return [trial.state for trial in study.trials()]


def test_the_first_trial_is_the_recipe_as_it_is_and_the_search_finds_better(tmp_path):
    study = searched(tmp_path, 25)
    first, best = study.trials()[0], study.best()
    assert study.values(first) == {}
    assert first.params == {"train.learning_rate": 1e-4, "train.optimiser.weight_decay": 0.0}
    assert first.value == pytest.approx(4 + 1 / EVALUATIONS)
    assert best.value < 0.5 < first.value
    assert best.value == min(trial.value for trial in study.trials() if trial.state is TrialState.COMPLETE)
    assert best.value == pytest.approx(loss(study.design.trial(study.values(best))) + 1 / EVALUATIONS)


def test_the_same_study_draws_the_same_trials_and_another_seed_others(tmp_path):
    one, same = searched(tmp_path / "one", 12), searched(tmp_path / "same", 12)
    assert course(one) == course(same)
    other = study_in(tmp_path / "other")
    other.design = replace(other.design, requested=Recipe.load({**RECIPE, "seed": 1}))
    search(other, 3, Pretend(), silent)
    assert [trial.params for trial in other.trials()[1:3]] != [trial.params for trial in one.trials()[1:3]]


def test_a_search_in_two_sittings_is_the_same_search(tmp_path):
    searched(tmp_path / "two", 5)
    assert course(searched(tmp_path / "two", 12)) == course(searched(tmp_path / "one", 12))


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_plainly_bad_trials_end_early_and_good_ones_do_not(pruner, tmp_path):
    study = searched(tmp_path, 30, pruner=pruner)
    pruned = [trial for trial in study.trials() if trial.state is TrialState.PRUNED]
    assert pruned
    assert all(trial.user_attrs["steps"] < EVALUATIONS for trial in pruned)
    whole = [trial for trial in study.trials() if trial.state is TrialState.COMPLETE]
    assert all(trial.user_attrs["steps"] == EVALUATIONS for trial in whole)
    assert min(loss(study.design.trial(study.values(trial))) for trial in pruned) > study.best().value - 1


def test_the_recipe_as_it_is_is_never_pruned(tmp_path):
    study = study_in(tmp_path)
    held = study.take(9)
    for _ in range(8):
        taken = study.take(9)
        for step in range(1, EVALUATIONS + 1):
            study.report(taken, Look(step, EVALUATIONS, "bits", 0.1, True))
        study.tell(taken, TrialState.COMPLETE, 0.1)
        taken.lease.release()
    watched = []

    def train(recipe, run, watch):
        return Pretend()(recipe, run, lambda look: watched.append(watch(look)))

    held.lease.release()
    search(study, 9, train, silent)
    assert watched == [None] * EVALUATIONS
    assert study.trials()[0].state is TrialState.COMPLETE


def test_higher_can_be_better(tmp_path):
    study = searched(tmp_path, 12, lower=False)
    values = [trial.value for trial in study.trials() if trial.state is TrialState.COMPLETE]
    assert study.best().value == max(values)


def test_a_trial_that_diverges_is_told_so_and_counts(tmp_path):
    def train(recipe, run, watch):
        if recipe.train.learning_rate > 1e-3:
            raise Diverged("the loss is not finite")
        return Pretend()(recipe, run, watch)

    study = study_in(tmp_path)
    search(study, 10, train, silent)
    failed = [trial for trial in study.trials() if trial.state is TrialState.FAIL]
    assert len(study.trials()) == 10
    assert failed
    assert all(trial.user_attrs["reason"] == "the loss is not finite" for trial in failed)


def test_a_wrong_recipe_is_the_callers_error_and_a_wrong_corner_of_the_space_is_not(tmp_path):
    def train(recipe, run, watch):
        if recipe.train.optimiser.weight_decay == wrong:
            raise InvalidRecipe("heads do not divide the width")
        return Pretend()(recipe, run, watch)

    wrong = 0.0
    with pytest.raises(InvalidRecipe):
        search(study_in(tmp_path / "recipe"), 6, train, silent)
    wrong = 0.5
    search(study_in(tmp_path / "corner"), 10, train, silent)
    assert {TrialState.FAIL, TrialState.COMPLETE} <= set(states(study_in(tmp_path / "corner")))


def test_a_full_disk_leaves_the_trial_to_the_next(tmp_path):
    def train(recipe, run, watch):
        Pretend()(recipe, run, watch)
        raise SaveFailed("the disk is full")

    with pytest.raises(SaveFailed):
        search(study_in(tmp_path), 2, train, silent)
    assert states(study_in(tmp_path)) == [TrialState.RUNNING]
    assert course(searched(tmp_path, 4)) == course(searched(tmp_path / "other", 4))


def test_a_nan_is_not_reported_and_fails_where_it_is_all_there_is(tmp_path):
    class Nothing(Pretend):
        def __call__(self, recipe, run, watch):
            result = super().__call__(recipe, run, lambda look: watch(replace(look, value=math.nan)))
            return replace(result, best=None)

    study = study_in(tmp_path)
    search(study, 2, Nothing(), silent)
    assert states(study) == [TrialState.FAIL] * 2
    assert study.trials()[1].intermediate_values == {}
    assert study.best() is None


def test_what_is_shared_and_searched_is_in_a_trials_recipe():
    found = design_of().trial({"train.learning_rate": 0.1 + 0.2, "train.optimiser.weight_decay": 0.5})
    assert found.train.learning_rate == 0.1 + 0.2, "to the last bit"
    assert (found.train.steps, found.tune) == (EVALUATIONS, {})


def opened(root, **changes):
    recipe = Recipe.load({**RECIPE, **changes})
    return StudyFolder(root).open(recipe, lambda one: design_of())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"train": {"learning_rate": 2e-4}}, "train.learning_rate: 0.0001 -> 0.0002"),
        ({"tune": {**RECIPE["tune"], "pruner": "none"}}, "tune.pruner: 'median' -> 'none'"),
        ({"tune": {**RECIPE["tune"], "space": {"train.batch_size": [1, 2]}}}, "tune.space"),
        (
            {"tune": {**RECIPE["tune"], "space": dict(reversed(RECIPE["tune"]["space"].items()))}},
            "tune.space",
        ),
    ],
)
def test_another_recipe_is_refused_and_the_difference_named(changes, named, tmp_path):
    assert opened(tmp_path) == opened(tmp_path, tune={**RECIPE["tune"], "trials": 99, "confirm": 0})
    with pytest.raises(RunFolderError) as caught:
        opened(tmp_path, **changes)
    assert named in caught.value.message


def test_a_runs_folder_a_newer_study_and_a_broken_one_are_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("modality: image")
    with pytest.raises(RunFolderError, match="is a run's"):
        opened(tmp_path / "run")
    opened(tmp_path / "study")
    place = StudyFolder(tmp_path / "study").design
    good = json.loads(place.read_text())
    place.write_text(json.dumps({**good, "format": 2}))
    with pytest.raises(RunFolderError, match="newer"):
        opened(tmp_path / "study")
    for broken in ("{", "[]", json.dumps({**good, "space": {"a": 1}}), json.dumps({"format": 1})):
        place.write_text(broken)
        with pytest.raises(CorruptFile):
            opened(tmp_path / "study")
    place.write_text(json.dumps(good))
    searched(tmp_path / "study", 2)
    (tmp_path / "study" / "journal.jsonl").write_text("nonsense\n")
    with pytest.raises(CorruptFile, match="journal"):
        study_in(tmp_path / "study")


def test_importance_goes_to_what_matters(tmp_path):
    study = searched(tmp_path, 40, pruner="none", sampler="random", space={**RECIPE["tune"]["space"]})
    found = study.importances()
    assert sum(found.values()) == pytest.approx(1)
    assert found["train.learning_rate"] > found["train.optimiser.weight_decay"]
    assert searched(tmp_path / "few", 3).importances() == {}


def test_why_a_pruned_run_ended_is_a_sentence():
    assert PRUNED.startswith("pruned: ")
