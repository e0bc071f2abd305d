"""Mask-predict against its own definition, with networks whose predictions are known."""

from types import SimpleNamespace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.families._mask_predict import mask_predict

VALUES = torch.tensor([[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]])
GAPS = torch.tensor([[True, False, True, True, True, False], [False, True, False, False, False, False]])
SEEDS = torch.tensor([3, 4])


def controls(**changes):
    return SimpleNamespace(**{"steps": 4, "temperature": 1.0, "top_k": None, "top_p": 1.0, **changes})


class Network:
    """Sure of token 7, by place: the later the surer; writes down what was open."""

    def __init__(self):
        self.opened = []

    def __call__(self, values, gaps):
        self.opened.append(gaps.clone())
        places = gaps.nonzero()[:, 1].float()
        logits = torch.zeros(int(gaps.sum()), 9)
        logits[:, 7] = 1 + places
        return logits


def test_the_least_sure_are_opened_again_one_fewer_each_turn():
    network = Network()
    out = mask_predict(network, VALUES, GAPS, controls(temperature=0), SEEDS)
    assert out.tolist() == [[7, 2, 7, 7, 7, 6], [6, 7, 4, 3, 2, 1]]
    first = [opened[0].nonzero()[:, 0].tolist() for opened in network.opened]
    assert first == [[0, 2, 3, 4], [0, 2, 3], [0, 2], [0]]
    assert [int(opened[1].sum()) for opened in network.opened] == [1, 0, 0, 0]


def test_one_step_predicts_all_at_once_and_more_steps_than_gaps_take_one_at_a_time():
    once = Network()
    mask_predict(once, VALUES, GAPS, controls(steps=1), SEEDS)
    assert len(once.opened) == 1
    many = Network()
    mask_predict(many, VALUES, GAPS, controls(steps=50), SEEDS)
    counts = [int(opened[0].sum()) for opened in many.opened]
    assert sorted(set(counts), reverse=True) == [4, 3, 2, 1]


def test_no_gap_asks_nothing():
    network = Network()
    assert torch.equal(mask_predict(network, VALUES, torch.zeros_like(GAPS), controls(), SEEDS), VALUES)
    assert network.opened == []


def skewed(values, gaps):
    """Depends on what stands in the row, as a network's logits do."""
    rows = gaps.nonzero()[:, 0]
    known = (values * ~gaps).sum(1)[rows]
    return torch.sin(torch.arange(9)[None] * (1.0 + known[:, None] / 7)) * 2


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**12 - 1), st.integers(1, 7), st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_only_gaps_change_and_a_batch_equals_its_rows(bits, steps, temperature):
    gaps = torch.tensor([(bits >> place) & 1 for place in range(12)]).bool().view(2, 6)
    chosen = controls(steps=steps, temperature=temperature)
    out = mask_predict(skewed, VALUES, gaps, chosen, SEEDS)
    assert torch.equal(out[~gaps], VALUES[~gaps])
    for row in range(2):
        one = slice(row, row + 1)
        assert torch.equal(mask_predict(skewed, VALUES[one], gaps[one], chosen, SEEDS[one]), out[one])


def test_draws_follow_the_distribution_and_its_controls():
    rows = 4000
    values, gaps, seeds = torch.zeros(rows, 1, dtype=torch.int64), torch.ones(rows, 1).bool(), torch.arange(rows)
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])

    def shares(**changes):
        out = mask_predict(lambda v, g: probabilities.log().expand(rows, 4), values, gaps, controls(**changes), seeds)
        return torch.bincount(out[:, 0], minlength=4) / rows

    torch.testing.assert_close(shares(), probabilities, atol=0.03, rtol=0)
    torch.testing.assert_close(shares(top_k=2), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03, rtol=0)
    torch.testing.assert_close(shares(top_p=0.7), torch.tensor([0.625, 0.375, 0, 0]), atol=0.03, rtol=0)
    assert shares(temperature=0)[0] == 1
    assert shares(temperature=100)[3] > 0.2
