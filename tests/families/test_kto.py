"""KTO against a direct transcription of the paper's equations; its reference point is detached and never below 0."""

import math
from dataclasses import replace

import pytest
import torch

from miaobi.errors import InvalidRecipe
from miaobi.families.kto import kto_loss
from tests.families.tuned import PROMPT, language_model, log_probs, network, pairs, tuned


def transcribed(ratios, mismatched, desirable, beta, wanted, unwanted):
    """Section 4.1, an item at a time: v(x, y) of r and z0, and lambda_y - v(x, y)."""
    point = max(0.0, sum(mismatched) / len(mismatched))
    losses = []
    for ratio, good in zip(ratios, desirable, strict=True):
        if good:
            losses.append(wanted - wanted / (1 + math.exp(-beta * (ratio - point))))
        else:
            losses.append(unwanted - unwanted / (1 + math.exp(-beta * (point - ratio))))
    return losses, point


def of(family, reference, target, batch):
    ratio = log_probs(family.shipped(), target, batch) - log_probs(reference, target, batch)
    return ratio.detach().tolist()


@pytest.mark.parametrize("seed", [3, 4, 5, 6])
@pytest.mark.parametrize("prompts", [True, False])
def test_the_loss_is_the_papers_transcribed(seed, prompts):
    conditions = {"conditions": PROMPT if prompts else {}}
    reference, batch = language_model(seed=seed, **conditions), pairs(prompts=prompts)
    family = tuned("kto", reference, beta=0.3, desirable_weight=1.5, undesirable_weight=0.5, **conditions)
    ratios = of(family, reference, batch.target, batch)
    shifted = batch.target.select(torch.tensor([1, 2, 3, 0]))
    mismatched = of(family, reference, shifted, batch)
    losses, point = transcribed(ratios, mismatched, [False, True, False, True], 0.3, 1.5, 0.5)
    found = family(batch, "train", batch.ids)
    assert float(found.total.detach()) == pytest.approx(sum(losses), rel=1e-3)
    assert float(found.parts["reference_point"]) == pytest.approx(4 * point, rel=1e-3, abs=1e-4)
    margin = 0.3 * ((ratios[1] + ratios[3]) - (ratios[0] + ratios[2])) / 2
    assert float(found.parts["margin"]) == pytest.approx(4 * margin, rel=1e-3)


def test_the_reference_point_is_met_on_both_sides_of_zero():
    points = set()
    batch = pairs()
    for policy, other in ((0, 3), (3, 0)):
        reference = language_model(seed=other)
        family = tuned("kto", reference, net=network(seed=policy))
        shifted = batch.target.select(torch.tensor([1, 2, 3, 0]))
        mean = sum(of(family, reference, shifted, batch)) / 4
        found = float(family(batch, "train", batch.ids).parts["reference_point"]) / 4
        assert found == pytest.approx(max(0.0, mean), rel=1e-3, abs=1e-4)
        points.add(mean > 0)
    assert points == {True, False}


def test_no_gradient_goes_through_the_reference_point():
    ratio = torch.tensor([0.5, -1.0, 2.0, 0.1], requires_grad=True)
    family, batch = tuned("kto", language_model(seed=3)), pairs()
    point = family._reference_point(batch, ratio)
    assert not point.requires_grad
    loss = kto_loss(ratio, torch.tensor([True, False, True, False]), point, 0.1, 1.0, 1.0)
    (slopes,) = torch.autograd.grad(loss.sum(), ratio)
    assert (slopes.sign() == torch.tensor([-1, 1, -1, 1])).all()
    # A point that were not detached would spread each slope over the batch.
    (alone,) = torch.autograd.grad(kto_loss(ratio, torch.tensor([True] * 4), point, 0.1, 1.0, 1.0)[0], ratio)
    assert alone.count_nonzero() == 1


def test_at_the_first_step_every_answer_costs_half_its_weight():
    family, batch = tuned("kto", desirable_weight=2.0).train(), pairs()
    assert float(family(batch, "train", batch.ids).total.detach()) == 2 * (2.0 / 2) + 2 * (1.0 / 2)


def test_a_step_raises_desirable_answers_and_lowers_the_others():
    family, batch = tuned("kto"), pairs()
    before = family.shipped().log_likelihood(batch, seeds=batch.ids).nats
    family(batch, "train", batch.ids).total.backward()
    with torch.no_grad():
        for parameter in family.parameters():
            parameter -= 0.02 * parameter.grad
    change = family.shipped().log_likelihood(batch, seeds=batch.ids).nats - before
    assert change[[1, 3]].sum() < 0
    assert change[[0, 2]].sum() > 0


def test_marks_the_wrong_way_round_are_another_loss():
    family, batch = tuned("kto", language_model(seed=3)), pairs()
    turned = replace(
        batch, extra={"desirable": replace(batch.extra["desirable"], values=1 - batch.extra["desirable"].values)}
    )
    right, wrong = (family(one, "train", batch.ids) for one in (batch, turned))
    torch.testing.assert_close(right.parts["margin"], -wrong.parts["margin"])
    assert not torch.isclose(right.total, wrong.total)


def test_a_micro_batch_of_one_is_refused():
    family, batch = tuned("kto"), pairs()
    with pytest.raises(InvalidRecipe, match=r"micro-batch.*accumulate"):
        family(batch.select(slice(0, 1)), "train", batch.ids[:1])
    assert family.couples_batch
