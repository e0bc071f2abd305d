import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from miaobi.errors import InvalidRecipe
from miaobi.training.tuning.settings import Choices, Range, TuneSettings, parse_space


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"low": 1, "high": 1}, "low has to be below high"),
        ({"low": 2.0, "high": 1.0}, "low has to be below high"),
        ({"low": 0, "high": 1.0, "log": True}, "low above 0"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "log and step"),
        ({"low": 1, "high": 9, "step": 0.5}, "whole step"),
        ({"low": 1, "high": 9, "step": 0}, "greater than 0"),
        ({"low": 1, "high": 3, "step": 5}, "leaps over"),
        ({"low": 1.0, "hihg": 2.0}, "did you mean high"),
        ({"low": 1.0}, "high"),
        ({"low": float("nan"), "high": 1.0}, "finite"),
        ({"low": 1, "high": 10**400}, "away from 0"),
        ({"low": -1e16, "high": 1.0}, "away from 0"),
        ({"low": 0.1, "high": 1.0, "step": 1e-300}, "at most 1e.09 steps"),
        ({"low": 0, "high": 10**10, "step": 1}, "at most 1e.09 steps"),
        ([64], "at least two"),
        ([64, 64], "each once"),
        ([], "at least two"),
        (64, "nothing to search"),
        ("tiny", "nothing to search"),
        (None, "nothing to search"),
    ],
)
def test_nonsense_is_refused_with_the_place(said, match):
    with pytest.raises(InvalidRecipe, match=match) as caught:
        parse_space({"train.learning_rate": said})
    assert "recipe.tune.space.train.learning_rate" in caught.value.message


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"trails": 3}, "did you mean trials"),
        ({"trials": 0}, "greater than or equal to 1"),
        ({"trials": 10**7}, "less than or equal"),
        ({"steps": 10, "minutes": 1}, "one of steps and minutes"),
        ({"pruner": "medain"}, "median"),
    ],
)
def test_nonsense_in_the_section_is_refused(said, match):
    with pytest.raises(InvalidRecipe, match=match):
        TuneSettings.parse(said, "recipe.tune")


def test_whole_ends_give_whole_numbers():
    found = parse_space({"a": {"low": 1, "high": 8, "step": 3}, "b": {"low": 1.0, "high": 8}})
    assert (found["a"].whole, found["a"].ends()) == (True, [1, 7])
    assert (found["b"].whole, found["b"].ends()) == (False, [1.0, 8])


ranges = st.builds(
    lambda low, span, step: Range(low=low, high=low + span, step=None if step is None else min(step, span)),
    st.integers(-50, 50),
    st.integers(1, 50),
    st.one_of(st.none(), st.integers(1, 9)),
) | st.builds(
    lambda low, span, step: Range(low=low, high=low + span, step=None if step is None else span / step),
    st.floats(-50, 50),
    st.floats(0.1, 50),
    st.one_of(st.none(), st.integers(1, 9)),
)


@example(Range(low=0.0, high=1.0, step=1 / 3), 1.0)
@given(ranges, st.one_of(st.floats(-200, 200), st.integers(-200, 200), st.none(), st.booleans()))
def test_what_the_sampler_is_told_of_the_recipes_own_value_is_in_the_range(dimension, value):
    distribution = dimension.distribution()
    assert distribution._contains(distribution.to_internal_repr(dimension.nearest(value)))


@given(ranges, st.floats(0, 1))
def test_the_nearest_of_a_value_inside_is_no_further_than_half_a_step(dimension, place):
    low, high = dimension.ends()
    value = low + place * (high - low)
    reach = (dimension.step or (1 if dimension.whole else 0)) / 2
    assert abs(dimension.nearest(value) - value) <= reach + 1e-6


def test_lists_and_truth_values_come_back_as_they_were():
    values = (1, True, None, "a", [0.9, 0.99], {"name": "mlp"})
    choices = Choices(values)
    drawn = choices.distribution().choices
    assert len(set(map(repr, drawn))) == len(values)
    for label, value in zip(drawn, values, strict=True):
        assert choices.value(label) == value
        assert type(choices.value(label)) is type(value)
