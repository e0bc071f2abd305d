import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy import float32

from miaobi.sampling import logits as shaping
from miaobi.sampling.token_controls import Chooser, TokenControls

rows = arrays(float32, (2, 7), elements=st.floats(-10, 10, width=32)).map(torch.from_numpy)


def chosen(logits, uniform, **controls):
    chooser = Chooser([TokenControls(**controls)] * len(logits), torch.device("cpu"))
    return chooser(logits, torch.as_tensor(uniform, dtype=torch.float32))


def test_draws_follow_the_distribution():
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
    uniform = (torch.arange(1000) + 0.5) / 1000
    tokens = shaping.draw(probabilities.log().expand(1000, -1), uniform)
    assert tokens.bincount(minlength=4).tolist() == [100, 0, 600, 300]


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 9), st.floats(0.01, 1), st.floats(0, 1))
def test_what_is_kept_is_the_most_likely(logits, k, p, floor):
    for kept, least in (
        (shaping.keep_top_k(logits, torch.full((2,), k)), min(k, 7)),
        (shaping.keep_top_p(logits, torch.full((2,), p)), 1),
        (shaping.keep_min_p(logits, torch.full((2,), floor)), 1),
    ):
        there = kept > shaping.NEVER
        assert (there.sum(1) >= least).all()
        assert torch.equal(kept[there], logits[there])
        worst = torch.where(there, logits, torch.inf).amin(1)
        best_dropped = torch.where(there, -torch.inf, logits).amax(1)
        assert (worst >= best_dropped).all()


def test_the_nucleus_is_the_smallest_that_holds_its_share():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for share, kept in ((0.4, 1), (0.6, 2), (0.85, 3), (1.0, 4)):
        assert int((shaping.keep_top_p(logits, torch.tensor([share])) > shaping.NEVER).sum()) == kept


def test_min_p_is_relative_to_the_most_likely():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    kept = shaping.keep_min_p(logits, torch.tensor([0.25]))
    assert (kept > shaping.NEVER).tolist() == [[True, True, True, False]]


def test_controls_of_rows_do_not_mix():
    logits = torch.tensor([[1.0, 2.0, 0.0]]).expand(3, -1)
    controls = [TokenControls(temperature=0), TokenControls(), TokenControls(top_k=1)]
    tokens = Chooser(controls, torch.device("cpu"))(logits, torch.tensor([0.01, 0.01, 0.01]))
    assert tokens.tolist() == [1, 0, 1]


def test_low_temperature_nears_the_most_likely_and_high_the_uniform():
    logits, uniform = torch.tensor([[0.0, 1.0]]).expand(100, -1), (torch.arange(100) + 0.5) / 100
    shares = [float(chosen(logits, uniform, temperature=t).float().mean()) for t in (0.05, 1.0, 50.0)]
    assert shares[0] == 1
    assert 0.7 < shares[1] < 0.76
    assert 0.49 < shares[2] < 0.52


def test_repetition_lowers_what_was_there_whatever_its_sign():
    logits, seen = torch.tensor([[2.0, 1.5], [-1.0, -1.5]]), torch.tensor([[True, False], [True, False]])
    assert logits.argmax(1).tolist() == [0, 0]
    assert shaping.penalise_repetition(logits, seen, torch.tensor([2.0, 2.0])).argmax(1).tolist() == [1, 1]
    assert torch.equal(shaping.penalise_repetition(logits, seen, torch.ones(2)), logits)


@settings(max_examples=30, deadline=None)
@given(rows, rows)
def test_guidance_of_one_is_the_condition_and_of_zero_is_none(conditional, free):
    for scale, expected in ((1.0, conditional), (0.0, free)):
        got = shaping.guide(conditional, free, torch.full((2,), scale))
        torch.testing.assert_close(got, expected.log_softmax(-1), rtol=1e-4, atol=1e-4)
