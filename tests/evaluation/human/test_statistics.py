"""Estimates on published examples, closed forms, and simulated raters of known ability."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from miaobi.evaluation.human import statistics
from miaobi.evaluation.metrics._intervals import share


def simulated_ratings(
    raters: int, items: int, seed: int, *, rater_spread: float = 0.5, item_spread: float = 0.5
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulated raters' numbers around 3, each rater and each item with a deviation of its own."""
    rng = np.random.default_rng(seed)
    numbers = 3 + rng.normal(0, rater_spread, (raters, 1)) + rng.normal(0, item_spread, (1, items))
    numbers = numbers + rng.normal(0, 0.5, (raters, items))
    return numbers.ravel(), np.repeat(np.arange(raters), items), np.tile(np.arange(items), raters)


def simulated_choices(
    raters: int, items: int, truth: float, seed: int, spread: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulated raters who are right about an item with its own probability, ``truth`` on average."""
    rng = np.random.default_rng(seed)
    odds = np.full(items, truth) if not spread else rng.beta(truth / spread, (1 - truth) / spread, items)
    right = (rng.random((raters, items)) < odds).astype(float)
    return right.ravel(), np.repeat(np.arange(raters), items), np.tile(np.arange(items), raters)


@pytest.mark.parametrize(("wins", "losses"), [(7, 3), (1, 1), (10, 0)])
def test_two_systems_have_the_closed_form(wins: int, losses: int) -> None:
    values = np.array([1.0] * wins + [0.0] * losses)
    count = len(values)
    logs = statistics.strengths(["a"] * count, ["b"] * count, values, ["a", "b"], np.ones(count))
    assert logs[0] - logs[1] == pytest.approx(math.log((wins + 0.5) / (losses + 0.5)), abs=1e-4)
    assert statistics.beats(logs)[0] == pytest.approx((wins + 0.5) / (count + 1), abs=1e-4)


def test_simulated_players_of_known_strength_are_found() -> None:
    truth = np.array([1.0, 0.3, -0.2, -1.1])
    rng = np.random.default_rng(0)
    names = ["a", "b", "c", "d"]
    pairs = [(i, j) for i in range(4) for j in range(i)] * 1500
    values = np.array([float(rng.random() < 1 / (1 + math.exp(truth[j] - truth[i]))) for i, j in pairs])
    lefts, rights = [names[i] for i, _ in pairs], [names[j] for _, j in pairs]
    logs = statistics.strengths(lefts, rights, values, names, np.ones(len(values)))
    assert logs == pytest.approx(truth - truth.mean(), abs=0.1)
    chances = [np.mean([1 / (1 + math.exp(o - t)) for o in truth if o != t]) for t in truth]
    assert statistics.beats(logs) == pytest.approx(np.array(chances), abs=0.03)


def test_a_comparison_counted_twice_is_one_of_weight_two() -> None:
    values = np.array([1.0, 0.0, 0.5])
    sides = (["a", "b", "a"], ["b", "c", "c"])
    weighted = statistics.strengths(*sides, values, ["a", "b", "c"], np.array([2.0, 1.0, 1.0]))
    twice = statistics.strengths(
        [*sides[0], "a"], [*sides[1], "b"], np.append(values, 1.0), ["a", "b", "c"], np.ones(4)
    )
    assert weighted == pytest.approx(twice, abs=1e-6)


COUNTS = [2, 3, 4, 6, 8, 12]


@pytest.mark.parametrize(("raters", "items"), [*((count, 30) for count in COUNTS), (1, 40), (40, 8)])
def test_the_mean_of_simulated_ratings_is_covered(raters: int, items: int) -> None:
    """Few raters too: the percentiles of resampled ones hold the mean of two in 73 % of such studies only."""
    rater_spread = 0.5 if raters > 1 else 0.0
    inside, narrow = 0, 0
    for seed in range(200):
        values, by, of = simulated_ratings(raters, items, seed, rater_spread=rater_spread)
        _, interval = statistics.mean(values, by, of)
        assert interval is not None
        inside += interval[0] <= 3 <= interval[1]
        half = stats.norm.ppf(0.975) * values.std() / math.sqrt(len(values))
        narrow += abs(values.mean() - 3) <= half
    assert inside >= 184, "92 % of 200"
    if raters > 1:
        assert narrow < 170, "answers taken as independent must not pass, or the test cannot fail"


@pytest.mark.parametrize("raters", COUNTS)
def test_differences_of_simulated_systems_are_covered(raters: int) -> None:
    """Simulated raters who like one of two systems more, each as much as they like."""
    rng = np.random.default_rng(raters)
    inside = 0
    for _ in range(100):
        liking, items = rng.normal(0.5, 0.5, (raters, 1)), rng.normal(0, 0.3, (1, 20))
        ours = 3 + liking + items + rng.normal(0, 0.5, (raters, 20))
        theirs = 3 + rng.normal(0, 0.5, (raters, 20))
        values, left = np.append(ours, theirs), np.repeat([True, False], 20 * raters)
        by, of = np.tile(np.repeat(np.arange(raters), 20), 2), np.tile(np.arange(20), 2 * raters)
        _, interval = statistics.difference(left, values, by, of)
        assert interval is not None
        inside += interval[0] <= 0.5 <= interval[1]
    assert inside >= 92


@pytest.mark.parametrize("raters", COUNTS)
def test_shares_of_simulated_raters_are_covered(raters: int) -> None:
    """Simulated raters of unlike ability, on items of unlike difficulty; six in ten of all answers are right."""
    rng = np.random.default_rng(raters)
    ability, ease = stats.beta(3, 2), stats.uniform(-0.1, 0.2)
    inside, before = 0, 0
    for _ in range(200):
        odds = ability.rvs((raters, 1), random_state=rng) + ease.rvs((1, 30), random_state=rng)
        # Odds beyond 0 and 1 are turned back, which moves their mean by far less than an interval.
        values = (rng.random((raters, 30)) < np.clip(odds, 0, 1)).astype(float).ravel()
        by, of = np.repeat(np.arange(raters), 30), np.tile(np.arange(30), raters)
        count = statistics.effective(values, by, of)
        for number, interval in enumerate(
            (
                statistics.wilson(values.mean(), statistics.cautious(count, by, of)),
                statistics.wilson(values.mean(), count),
            )
        ):
            inside += (number == 0) * (interval[0] <= 0.6 <= interval[1])
            before += (number == 1) * (interval[0] <= 0.6 <= interval[1])
    assert inside >= 184
    if raters < 4:
        assert before < 184, "an effective number alone is not enough for so few raters"


@pytest.mark.parametrize("raters", COUNTS)
def test_strengths_of_simulated_equals_are_covered(raters: int) -> None:
    """Two simulated systems as good as each other, which raters and items favour each in their own measure."""
    rng = np.random.default_rng(raters)
    by, of = np.repeat(np.arange(raters), 15), np.tile(np.arange(15), raters)
    lefts, rights = ["a"] * len(by), ["b"] * len(by)
    inside = 0
    for _ in range(50):
        favour = rng.normal(0, 0.7, raters)[by] + rng.normal(0, 0.5, 15)[of]
        wins = (rng.random(len(by)) < 1 / (1 + np.exp(-favour))).astype(float)

        def figure(weights: np.ndarray, wins: np.ndarray = wins) -> np.ndarray:
            return statistics.strengths(lefts, rights, wins, ["a", "b"], weights)

        _, interval = statistics.jackknifed(by, of, figure)
        assert interval is not None
        inside += interval[0, 0] <= 0 <= interval[1, 0]
    assert inside >= 46


def test_a_mean_leaves_each_rater_out() -> None:
    """Two raters who say 2 and 4 of everything: standard error 1, Student's t of one degree of freedom 12.7062."""
    values, by, of = np.array([2.0, 2.0, 4.0, 4.0]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    value, interval = statistics.mean(values, by, of)
    assert value == 3
    assert interval == pytest.approx((3 - 12.7062, 3 + 12.7062), abs=1e-4)
    assert statistics.mean(values[:1], by[:1], of[:1]) == (2, None)
    left = np.array([True, True, False, False])
    assert statistics.difference(left, values, by, of) == (-2, None), "each side is one rater's alone"


def test_a_difference_of_systems_does_not_see_how_raters_use_the_scale() -> None:
    values, by, of = simulated_ratings(8, 20, 0, rater_spread=2.0)
    left = np.tile([True, False], 80)
    values = values + np.where(left, 0.5, 0.0)
    difference, interval = statistics.difference(left, values, by, of // 2)
    assert interval[0] < 0.5 < interval[1]
    assert interval[0] < difference < interval[1]
    assert interval[1] - interval[0] < 1.5, "raters two points apart would make it wider"


def test_the_share_of_simulated_choices_is_covered_where_items_differ() -> None:
    inside, naive, exactly = 0, 0, 0
    for seed in range(300):
        values, by, of = simulated_choices(8, 25, 0.6, seed, spread=0.5)
        value = float(values.mean())
        low, high = statistics.wilson(value, statistics.effective(values, by, of))
        inside += low <= 0.6 <= high
        low, high = statistics.exact(value, statistics.effective(values, by, of))
        exactly += low <= 0.6 <= high
        low, high = share(int(values.sum()), len(values))
        naive += low <= 0.6 <= high
    assert inside >= 270
    assert exactly >= inside
    assert naive < 240, "answers taken as independent must not pass, or the test cannot fail"


def test_independent_answers_are_worth_their_number() -> None:
    found = [statistics.effective(*simulated_choices(5, 40, 0.6, seed)) for seed in range(50)]
    assert np.mean(found) > 150
    assert max(found) <= 200
    values, by, of = simulated_choices(1, 40, 0.6, 0)
    assert statistics.effective(values, by, of) == pytest.approx(40)
    assert statistics.effective(np.ones(200), np.repeat(np.arange(5), 40), np.tile(np.arange(40), 5)) == 40


@given(st.integers(0, 60), st.integers(1, 60))
def test_whole_counts_give_the_usual_intervals(right: int, more: int) -> None:
    count = right + more
    found = stats.binomtest(right, count)
    assert statistics.wilson(right / count, count) == pytest.approx(share(right, count), abs=1e-9)
    assert statistics.exact(right / count, count) == pytest.approx(tuple(found.proportion_ci()), abs=1e-9)


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60))
def test_one_answer_a_set_is_the_binomial_test(values: list[float]) -> None:
    found = statistics.sign_flip(np.array(values), np.arange(len(values)))
    assert found == pytest.approx(stats.binomtest(int(sum(values)), len(values)).pvalue)


def test_raters_who_like_the_same_item_do_not_make_a_difference() -> None:
    """Under no difference, simulated raters who agree: p must be uniform, and the binomial test's is not."""
    rng = np.random.default_rng(0)
    sets = np.tile(np.arange(20), 10)
    ours, binomial = [], []
    for _ in range(400):
        values = np.tile(rng.integers(0, 2, 20).astype(float), 10)
        ours.append(statistics.sign_flip(values, sets))
        binomial.append(stats.binomtest(int(values.sum()), 200).pvalue)
    assert np.mean(np.array(ours) < 0.05) < 0.08
    assert np.mean(np.array(binomial) < 0.05) > 0.3


def test_the_detectable_accuracy_is_detected_four_times_in_five() -> None:
    assert statistics.detectable(5) is None, "five right of five have p = 0.0625"
    for count in (6, 20, 100):
        accuracy = statistics.detectable(count)
        assert accuracy is not None
        found = np.array([stats.binomtest(k, count).pvalue <= 0.05 for k in range(count + 1)])
        right = np.arange(count + 1) > count / 2
        power = stats.binom.pmf(np.arange(count + 1), count, accuracy)[found & right].sum()
        assert power == pytest.approx(0.8)
    assert statistics.detectable(100) == pytest.approx(0.64, abs=0.01)
