"""Time of a run whose phases start and stop: what a budget is enough for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.training.pace import Pace
from miaobi.types import Phase

PHASES = st.builds(
    lambda interval, repeat, start, length: Phase("p", (), interval, repeat, start, length and start + length),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 20),
    st.none() | st.integers(1, 20),
)


@given(st.lists(st.tuples(PHASES, st.floats(0, 2)), min_size=1, max_size=3), st.integers(1, 60), st.floats(0, 1))
def test_it_is_the_sum_of_the_turns_that_are_taken(turns: list[tuple[Phase, float]], steps: int, rest: float) -> None:
    expected = sum(
        rest + sum(seconds * phase.repeat for phase, seconds in turns if phase.active(step)) for step in range(steps)
    )
    assert Pace(tuple(turns), rest).seconds(steps) == pytest.approx(expected)


@given(PHASES, st.floats(0.01, 2), st.floats(0.01, 1), st.floats(0, 100), st.floats(0, 1))
def test_a_budget_is_used_up_and_not_overdrawn(
    phase: Phase, seconds: float, rest: float, budget: float, besides: float
) -> None:
    pace = Pace(((phase, seconds),), rest)
    steps = pace.steps_in(budget, besides)
    assert steps == 1 or pace.seconds(steps) + steps * besides <= budget
    assert pace.seconds(steps + 1) + (steps + 1) * besides > budget


def test_cheap_steps_come_before_dear_ones() -> None:
    cheap, dear = Phase("likelihood", (), stop=100), Phase("adversarial", (), start=100)
    pace = Pace(((cheap, 0.5), (dear, 5.0)))
    assert pace.steps_in(40) == 80
    assert pace.steps_in(100) == 110
    assert pace.mean(110) == pytest.approx(100 / 110)


def test_what_costs_nothing_does_not_go_on_for_ever() -> None:
    assert Pace(((Phase("p", (), stop=3), 1.0),)).steps_in(10) == 10**9
