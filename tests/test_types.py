import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import InvalidRecipe
from miaobi.types import Batch, Field, Form, Phase, Settings, Spec, vector_spec


class Inner(Settings):
    width: int = 4


class Outer(Settings):
    inner: Inner = Inner()
    rate: float = 0.1


def test_unknown_keys_are_refused_with_the_nearest_match_at_any_depth():
    with pytest.raises(InvalidRecipe, match=r"here\.rat: unknown key; did you mean rate"):
        Outer.parse({"rat": 1}, "here")
    with pytest.raises(InvalidRecipe, match=r"inner\.widht: unknown key; did you mean width"):
        Outer.parse({"inner": {"widht": 1}})


def test_every_wrong_value_is_named_with_what_was_given():
    with pytest.raises(InvalidRecipe, match=r"rate.*'fast'.*inner\.width.*'wide'|inner\.width.*'wide'.*rate.*'fast'"):
        Outer.parse({"rate": "fast", "inner": {"width": "wide"}})
    with pytest.raises(InvalidRecipe, match="finite"):
        Outer.parse({"rate": float("nan")})


def test_settings_are_frozen():
    with pytest.raises(Exception, match="frozen"):
        Outer().rate = 1.0


specs = st.one_of(
    st.builds(
        Spec,
        form=st.just(Form.TENSOR),
        channels=st.integers(1, 9),
        space=st.lists(st.integers(1, 99), max_size=3).map(tuple),
        levels=st.sampled_from([0, 256]),
    ),
    st.builds(
        Spec,
        form=st.just(Form.TOKENS),
        vocabulary=st.integers(1, 99),
        max_length=st.integers(1, 99),
        stream=st.booleans(),
        begin=st.none() | st.integers(0, 5),
    ),
)


@given(specs)
def test_a_spec_survives_json(spec):
    assert Spec.from_json(spec.to_json()) == spec


def test_sizes():
    assert Spec(Form.TENSOR, channels=3, space=(4, 5)).size == 60
    assert Spec(Form.TENSOR, channels=3, space=(4, 5)).dims == 2
    assert vector_spec(7).size == 7
    assert Spec(Form.TOKENS, vocabulary=5, max_length=8).size == 8
    assert Spec(Form.LABEL, vocabulary=5).size == 1


def test_select_and_to_reach_every_tensor():
    field = Field(torch.arange(12).view(4, 3), lengths=torch.tensor([1, 2, 3, 3]), present=torch.tensor([True] * 4))
    batch = Batch(field, {"label": Field(torch.arange(4))}, ids=torch.arange(4))
    part = batch.select(slice(1, 3))
    assert len(part) == 2
    assert part.target.lengths.tolist() == [2, 3]
    assert part.conditions["label"].values.tolist() == [1, 2]
    assert part.ids.tolist() == [1, 2]
    picked = batch.select(torch.tensor([3, 0]))
    assert picked.target.values[:, 0].tolist() == [9, 0]


def test_mask_marks_real_positions():
    field = Field(torch.zeros(2, 3, dtype=torch.int64), lengths=torch.tensor([0, 2]))
    assert field.mask().tolist() == [[False, False, False], [True, True, False]]
    assert field.is_present().tolist() == [True, True]


@given(st.integers(0, 50), st.integers(1, 7), st.integers(0, 20), st.none() | st.integers(0, 60))
def test_a_phase_is_active_between_start_and_stop_on_its_interval(step, interval, start, stop):
    phase = Phase("p", ("a",), interval=interval, start=start, stop=stop)
    expected = step >= start and (stop is None or step < stop) and step % interval == 0
    assert phase.active(step) == expected
