"""Gates at their edges: the worse end of the interval decides, and standing on the margin is not enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.evaluation import Direction
from miaobi.evaluation.paired import Paired
from miaobi.recipe import RefreshSettings
from miaobi.training.continual.gates import forgetting, gain, judge, sentence


def found(low, high, before=2.0, better=None):
    interval = None if low is None else (low, high)
    middle = better if better is not None else 0.0 if low is None else (low + high) / 2
    return Paired("bits_per_byte", Direction.LOWER, "data", "test", 40, before, before - middle, middle, interval)


@pytest.mark.parametrize(
    ("low", "share", "passed"),
    [(0.0, 0.0, False), (1e-9, 0.0, True), (-1e-9, 0.0, False), (0.2, 0.1, False), (0.2000001, 0.1, True)],
)
def test_the_gains_lower_end_has_to_be_above_the_margin(low, share, passed):
    gate = gain(found(low, low + 1), share)
    assert gate["passed"] is passed
    assert gate["margin"] == pytest.approx(share * 2)


@pytest.mark.parametrize(("low", "passed"), [(-0.2, False), (-0.1999999, True), (-0.3, False), (0.1, True)])
def test_forgettings_upper_end_has_to_be_below_the_margin(low, passed):
    gate = forgetting(found(low, low + 0.5), 0.1)
    assert gate["passed"] is passed
    assert gate["interval"] == [pytest.approx(-low - 0.5), pytest.approx(-low)]
    assert gate["change"] == pytest.approx(-low - 0.25)


def test_without_an_interval_nothing_passes():
    for gate in (gain(found(None, None, better=5.0), 0.0), forgetting(found(None, None, better=5.0), 1.0)):
        assert gate["passed"] is False
        assert "too few to tell" in sentence(gate)


def test_none_of_several_old_data_sets_may_be_forgotten():
    settings = RefreshSettings(forget=0.1)
    good, kept, lost = found(0.5, 0.6), found(-0.05, 0.05), found(-0.4, -0.3)
    assert judge(settings, good, [("0001", kept), ("0002", kept)])["passed"]
    assert not judge(settings, good, [("0001", kept), ("0002", lost)])["passed"]
    assert not judge(settings, kept, [("0001", kept)])["passed"]
    gates = judge(settings, good, [("0001", kept), ("0002", lost)])["gates"]
    assert [(gate["gate"], gate.get("since")) for gate in gates] == [
        ("gain", None),
        ("forgetting", "0001"),
        ("forgetting", "0002"),
    ]
    assert "before with version 0002 and" in sentence(gates[2])


@given(low=st.floats(-2, 2), width=st.floats(0, 2), share=st.floats(0, 1))
def test_a_larger_margin_never_lets_more_gain_or_less_forgetting_through(low, width, share):
    one = found(low, low + width)
    assert not (gain(one, share)["passed"] and not gain(one, share / 2)["passed"])
    assert not (forgetting(one, share / 2)["passed"] and not forgetting(one, share)["passed"])


def test_a_sentence_has_the_figures():
    said = sentence(gain(found(0.5, 0.7), 0.1))
    for part in ("gain on data: passed", "+0.6", "+0.5 to +0.7", "above 0.2", "2 before and 1.4 after"):
        assert part in said
