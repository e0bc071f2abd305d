from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from miaobi import networks
from miaobi.errors import UnknownName, Unsupported
from miaobi.families.ranker import Ranker
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=11, max_length=9)
CONDITIONS = {"query": Spec(Form.LABEL, vocabulary=4), "worse": replace(TARGET, shared=True)}
SEEDS = torch.arange(4)


def ranker(conditions=CONDITIONS, **options):
    torch.manual_seed(0)
    config = Ranker.Config(**options)
    port = Ranker.ports(config, TARGET, conditions)["network"]
    kind = networks.find("encoder")
    preset = kind.preset("tiny", port.source, port.target, port.conditions)
    network = kind(preset, port.source, port.target, port.conditions)
    made = Ranker(config, {"network": network}, {}, TARGET, conditions).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def batch():
    generator = torch.Generator().manual_seed(1)
    better, worse = (torch.randint(11, (4, length), generator=generator) for length in (9, 6))
    conditions = {
        "query": Field(torch.arange(4)),
        "worse": Field(worse, lengths=torch.tensor([2, 6, 3, 5]), present=torch.tensor([True, True, False, True])),
    }
    return Batch(Field(better, lengths=torch.tensor([9, 3, 0, 5])), conditions=conditions, ids=torch.arange(4))


def test_the_loss_is_the_logistic_one_of_score_differences_where_there_is_a_pair():
    made, given = ranker(), batch()
    context = {"query": given.conditions["query"]}
    better, worse = made.score(given.target, context), made.score(given.conditions["worse"], context)
    here = torch.tensor([True, True, False, True])
    loss = made(given, "train", SEEDS)
    torch.testing.assert_close(loss.total, -F.logsigmoid(better - worse)[here].sum(), rtol=1e-4, atol=1e-5)
    assert float(loss.count) == 3
    margins, has = made.margins(given)
    assert torch.equal(has, here)
    torch.testing.assert_close(margins[here], (better - worse)[here], rtol=1e-4, atol=1e-5)


def test_the_sides_are_told_apart_and_swapping_them_turns_the_margin_round():
    made, given = ranker(), batch().select(torch.tensor([0, 1, 3]))
    turned = Batch(replace(given.conditions["worse"], present=None), {**given.conditions, "worse": given.target})
    torch.testing.assert_close(made.margins(given)[0], -made.margins(turned)[0], rtol=1e-4, atol=1e-5)


def test_a_batch_equals_its_pairs_alone():
    made, given = ranker(), batch()
    together = made.margins(given)[0]
    for row in (0, 1, 3):
        alone = made.margins(given.select(slice(row, row + 1)))[0]
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-4, atol=1e-5)


def test_both_sides_are_judged_for_the_same():
    made, given = ranker(), batch()
    other = {**given.conditions, "query": Field((torch.arange(4) + 1) % 4)}
    change = made.margins(given)[0] - made.margins(replace(given, conditions=other))[0]
    assert (change[torch.tensor([0, 1, 3])].abs() > 1e-6).all()


def test_without_pairs_nothing_is_learned():
    made, given = ranker(), batch()
    loss = made(replace(given, conditions={"query": given.conditions["query"]}), "train", SEEDS)
    assert (loss.total.item(), loss.count.item()) == (0, 0)


def test_the_worse_side_has_to_be_there_and_to_share_the_targets_tokens():
    with pytest.raises(UnknownName, match="against"):
        ranker(against="lesser")
    with pytest.raises(Unsupported, match="without options"):
        ranker({"worse": TARGET})
