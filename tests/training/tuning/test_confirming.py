import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from miaobi.errors import Diverged
from miaobi.training.tuning.confirming import Confirmed, confirm
from miaobi.training.tuning.page import _confirmed
from tests.training.tuning.stand_ins import Pretend, loss, searched, study_in


def silent(text):
    pass


class Seeded(Pretend):
    """Its figure is the recipe's loss and what `noise` says of the seed; `Diverged` where that says nothing."""

    def __init__(self, noise, part="test"):
        super().__init__()
        self.noise, self.part, self.figures, self.seeds = noise, part, {}, []

    def __call__(self, recipe, run, watch):
        shift = self.noise(recipe)
        self.seeds.append(recipe.seed)
        if shift is None:
            raise Diverged("the loss is not finite")
        self.figures[run.name] = loss(recipe) + shift
        return super().__call__(recipe, run, watch)

    def score(self, run, metric, figure):
        assert (metric, figure) == ("likelihood", "bits")
        return self.figures[run.name], self.part


def confirmed(root, noise, count=4, part="test", **tune):
    train = Seeded(noise, part)
    return confirm(searched(root, 12, **tune), count, train, train.score, silent), train


def test_equal_noise_of_both_cancels_in_pairs(tmp_path):
    found, train = confirmed(tmp_path, lambda recipe: 100.0 * recipe.seed)
    best = study_in(tmp_path).best()
    expected = 4 - loss(study_in(tmp_path).design.trial(study_in(tmp_path).values(best)))
    assert sorted(set(train.seeds)) == [1, 2, 3, 4], "never the seed that was searched with"
    assert found.gain == pytest.approx(expected)
    assert found.interval == pytest.approx((expected, expected), abs=1e-6)
    assert found.beyond_noise
    assert "beyond noise" in str(found)


def test_noise_as_large_as_the_gain_is_called_so(tmp_path):
    def noise(recipe):
        return 0.0 if recipe.train.learning_rate == 1e-4 else (9.0 if recipe.seed % 2 else -9.0)

    found, _ = confirmed(tmp_path, noise)
    assert found.gain > 0
    assert found.interval[0] < 0 < found.interval[1]
    assert not found.beyond_noise
    assert "not beyond noise" in str(found)


def test_the_interval_is_students(tmp_path):
    """Gains 1, 2, 3: mean 2, standard error 1/sqrt(3), t with 2 degrees of freedom 4.30265."""
    base = study_in(tmp_path).design

    def noise(recipe):
        return -loss(recipe) + (0.0 if recipe.train.learning_rate == 1e-4 else -float(recipe.seed))

    found, _ = confirmed(tmp_path, noise, count=3)
    assert base.lower
    assert found.gain == pytest.approx(2)
    assert found.interval == pytest.approx((2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-5)


def test_higher_is_better_turns_the_sign(tmp_path):
    found, _ = confirmed(tmp_path, lambda recipe: -loss(recipe) + 0.1 * recipe.seed, count=2, lower=False)
    assert found is not None
    assert found.gain == pytest.approx(0)
    assert found.interval == pytest.approx((0, 0), abs=1e-9)


def test_one_seed_and_a_diverged_run_prove_nothing(tmp_path):
    one, _ = confirmed(tmp_path / "one", lambda recipe: 0.0, count=1)
    assert (one.interval, one.beyond_noise) == (None, False)
    wild, _ = confirmed(
        tmp_path / "wild", lambda recipe: None if recipe.seed == 2 and recipe.train.learning_rate != 1e-4 else 0.0
    )
    assert math.isnan(wild.best[1])
    assert (wild.interval, wild.beyond_noise) == (None, False)


def test_what_was_measured_is_not_measured_again(tmp_path):
    first, _ = confirmed(tmp_path, lambda recipe: 0.5)
    again, train = confirmed(tmp_path, lambda recipe: 0.7)
    assert (again, train.seeds) == (first, [])
    more, train = confirmed(tmp_path, lambda recipe: 0.5, count=5)
    assert set(train.seeds) == {5}
    assert len(more.best) == 5


def test_nothing_is_confirmed_where_no_trial_was_better_or_nobody_asks(tmp_path):
    study = searched(tmp_path / "one", 1)
    train = Seeded(lambda recipe: 0.0)
    assert confirm(study, 3, train, train.score, silent) is None
    assert confirmed(tmp_path / "none", lambda recipe: 0.0, count=0)[0] is None
    assert train.seeds == []


def test_a_verdict_needs_the_whole_interval():
    found = Confirmed("test", [1.0, 1.0], [2.0, 2.0], 1.0, (0.1, 1.9))
    assert found.beyond_noise
    assert not replace(found, interval=(-0.1, 2.1)).beyond_noise
    assert not replace(found, interval=(-2.0, -1.0)).beyond_noise


def test_without_a_test_part_there_is_no_verdict(tmp_path):
    found, _ = confirmed(tmp_path, lambda recipe: 0.0, part="validation")
    assert found.interval[0] > 0
    assert (found.part, found.beyond_noise) == ("validation", False)
    assert "no verdict" in str(found)
    assert "beyond noise" not in str(found)
    shown = _confirmed(study_in(tmp_path), SimpleNamespace(confirmed=found, best={"trial": 3})).body
    assert "on the validation part, which the search selected on" in shown
    assert "never saw" not in shown


def test_a_diverged_run_does_not_say_what_the_others_were_measured_on(tmp_path):
    wild, _ = confirmed(tmp_path / "one", lambda recipe: None if recipe.seed == 1 else 0.0, part="validation")
    assert wild.part == "validation"
    none, _ = confirmed(tmp_path / "all", lambda recipe: None)
    assert none.part == ""
    assert " part" not in str(none)
