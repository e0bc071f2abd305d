"""DPO: the loss by hand from log-probabilities, log 2 at the start, and which way it pulls."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.errors import InvalidRecipe
from miaobi.families.dpo import DPO, dpo_loss
from tests.families.tuned import language_model, log_probs, pairs, tuned


def swapped(batch):
    return replace(batch, target=batch.extra["rejected"], extra={"rejected": batch.target})


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}, {"length_normalised": True, "beta": 2.0}])
def test_the_loss_is_the_papers_by_hand(options):
    reference, batch = language_model(seed=3), pairs()
    family = tuned("dpo", reference, **options)
    beta, smoothing = options.get("beta", 0.1), options.get("label_smoothing", 0.0)
    ratios = []
    for field in (batch.target, batch.extra["rejected"]):
        ratio = (log_probs(family.shipped(), field, batch) - log_probs(reference, field, batch)).detach()
        ratios.append(ratio / (field.lengths + 1) if "length_normalised" in options else ratio)
    expected = []
    for chosen, rejected in zip(*(ratio.tolist() for ratio in ratios), strict=True):
        right = 1 / (1 + math.exp(-beta * (chosen - rejected)))
        expected.append(-(1 - smoothing) * math.log(right) - smoothing * math.log(1 - right))
    loss = family(batch, "train", batch.ids)
    assert float(loss.total.detach()) == pytest.approx(sum(expected), rel=1e-4)
    assert loss.count == 4
    assert float(loss.parts["margin"]) == pytest.approx(beta * float((ratios[0] - ratios[1]).sum()), rel=1e-3)
    assert float(loss.parts["accuracy"]) == float((ratios[0] > ratios[1]).sum())


def test_at_the_first_step_it_is_log_two_to_the_bit():
    family, batch = tuned("dpo").train(), pairs()
    assert torch.equal(family(batch, "train", batch.ids).total, 4 * torch.tensor(2.0).log())


def test_a_step_raises_the_preferred_answer_and_lowers_the_rejected_one():
    family, batch = tuned("dpo"), pairs()
    policy = family.shipped()
    sides = [batch, replace(batch, target=batch.extra["rejected"])]
    before = [policy.log_likelihood(one, seeds=batch.ids).nats for one in sides]
    family(batch, "train", batch.ids).total.backward()
    with torch.no_grad():
        for parameter in family.parameters():
            parameter -= 0.02 * parameter.grad
    after = [policy.log_likelihood(one, seeds=batch.ids).nats for one in sides]
    assert after[0].sum() < before[0].sum()
    assert after[1].sum() > before[1].sum()


def test_swapped_sides_are_another_loss_with_the_margin_turned_round():
    family, batch = tuned("dpo", language_model(seed=3)), pairs()
    right, wrong = family(batch, "train", batch.ids), family(swapped(batch), "train", batch.ids)
    torch.testing.assert_close(right.parts["margin"], -wrong.parts["margin"])
    assert not torch.isclose(right.total, wrong.total)


@given(st.floats(-30, 30), st.floats(0, 0.49))
def test_the_loss_is_least_where_its_smoothing_says(margin, smoothing):
    h = torch.tensor([margin], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(dpo_loss(h, smoothing).sum(), h)
    # d/dh = sigmoid(h) - (1 - e): zero where the pair is as sure as the labels are.
    assert float(slope) == pytest.approx(float(torch.sigmoid(h.detach())) - (1 - smoothing), abs=1e-9)


@pytest.mark.parametrize("options", [{"beta": 0}, {"label_smoothing": 0.5}, {"beta": float("nan")}, {"bta": 0.1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InvalidRecipe):
        DPO.Config.parse(options)
