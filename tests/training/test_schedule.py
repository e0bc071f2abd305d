import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.recipe import ScheduleSettings
from miaobi.training.schedule import factor


def rates(steps, **settings):
    return [factor(step, steps, ScheduleSettings(**settings)) for step in range(steps)]


@given(
    st.integers(1, 500),
    st.sampled_from(["cosine", "linear", "constant"]),
    st.integers(0, 200),
    st.floats(0, 1, allow_nan=False),
)
def test_rates_rise_over_the_warm_up_and_never_rise_again(steps, name, warmup, final):
    found = rates(steps, name=name, warmup=warmup, final=final)
    peak = min(warmup, steps // 10)
    assert all(0 <= rate <= 1 for rate in found)
    assert found[:peak] == sorted(set(found[:peak]))
    assert found[peak:] == sorted(found[peak:], reverse=True)
    assert found[peak] == 1


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_the_last_rate_is_the_final_one(name):
    assert rates(200, name=name, final=0.1)[-1] == pytest.approx(0.1)
    assert rates(200, name=name)[-1] == pytest.approx(0)


def test_a_constant_rate_stays():
    assert set(rates(50, name="constant", warmup=0)) == {1.0}


def test_the_middle_of_a_cosine_is_half_way():
    assert rates(101, name="cosine", warmup=0)[50] == pytest.approx(0.5)
