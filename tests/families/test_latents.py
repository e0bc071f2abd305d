import pytest
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import UnknownName
from miaobi.families._latents import latent_spec, require_kind
from miaobi.networks._resampling import rungs
from miaobi.types import Form, Spec, vector_spec


@given(space=st.lists(st.integers(1, 200), min_size=1, max_size=3), power=st.integers(0, 5))
def test_halving_again_and_again_gets_to_the_latents_space(space, power):
    """Rounding up at once and at every halving come to the same, so a pyramid of factor two can have these ends."""
    target = Spec(Form.TENSOR, 3, tuple(space))
    found = latent_spec(5, target, 2**power)
    assert found.channels == 5
    assert rungs(target.space, found.space, 2) is not None


def test_without_a_factor_a_latent_is_flat():
    assert latent_spec(5, Spec(Form.TENSOR, 3, (28, 28)), None) == vector_spec(5)
    assert latent_spec(5, Spec(Form.TENSOR, 3, (28, 30)), 4).space == (7, 8)


def test_an_unknown_kind_is_refused_with_what_there_is():
    with pytest.raises(UnknownName, match="did you mean latents"):
        require_kind("latent", {"latents": vector_spec(2)})
