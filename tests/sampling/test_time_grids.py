from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import InvalidRecipe, UnknownName
from miaobi.sampling.time_grids import grid

NAMES = ["uniform", "karras", "cosine"]


@given(st.sampled_from(NAMES), st.integers(1, 1000))
def test_times_fall_strictly_from_exactly_one_to_exactly_nought(name, steps):
    times = grid(name, steps)
    assert len(times) == steps + 1
    assert (times[0], times[-1]) == (1.0, 0.0)
    assert all(later < earlier for earlier, later in pairwise(times))


def test_the_published_spacings():
    assert grid("uniform", 4) == (1.0, 0.75, 0.5, 0.25, 0.0)
    sigma = [t / (1 - t) for t in grid("karras", 18)[1:-1]]
    roots = [s ** (1 / 7) for s in sigma]
    gaps = {round(a - b, 9) for a, b in pairwise(roots)}
    assert len(gaps) == 1
    assert sigma[-1] == pytest.approx(0.002)
    halfway = grid("cosine", 4)[2]
    assert halfway == pytest.approx(0.5)
    assert grid("cosine", 3)[1] / (1 - grid("cosine", 3)[1]) == pytest.approx(3**0.5)


def test_wrong_steps_and_names_are_refused():
    with pytest.raises(InvalidRecipe, match="at least one step"):
        grid("uniform", 0)
    with pytest.raises(UnknownName, match="did you mean karras"):
        grid("karas", 4)
