import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from miaobi import networks
from miaobi.errors import UnknownName, Unsupported
from miaobi.families import Likelihood, Predicting, Sampling
from miaobi.families.classifier import Classifier
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.LABEL, vocabulary=3)
CONDITIONS = {
    "kind": Spec(Form.LABEL, vocabulary=4),
    "picture": Spec(Form.TENSOR, channels=1, space=(8, 8)),
    "text": Spec(Form.TOKENS, vocabulary=11, max_length=9),
}
SEEDS = torch.arange(4) + 10


def classifier(conditions=CONDITIONS, network="encoder", **options):
    torch.manual_seed(0)
    config = Classifier.Config(**options)
    port = Classifier.ports(config, TARGET, conditions)["network"]
    kind = networks.find(network)
    preset = kind.preset("tiny", port.source, port.target, port.conditions)
    made = Classifier(
        config, {"network": kind(preset, port.source, port.target, port.conditions)}, {}, TARGET, conditions
    ).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def batch(**changes):
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(11, (4, 9), generator=generator)
    conditions = {
        "kind": Field(torch.arange(4)),
        "picture": Field(torch.randn(4, 1, 8, 8, generator=generator)),
        "text": Field(text, lengths=torch.tensor([9, 3, 0, 5])),
    }
    return Batch(Field(torch.tensor([0, 1, 2, 1]), **changes), conditions=conditions, ids=torch.arange(4))


def test_it_predicts_samples_and_knows_its_likelihood():
    made = classifier()
    assert isinstance(made, Predicting)
    assert isinstance(made, Sampling)
    assert isinstance(made, Likelihood)
    assert made.metric(Form.LABEL) == "accuracy"


def test_the_loss_is_the_cross_entropy_of_the_class_and_so_is_the_likelihood():
    made, given = classifier(), batch()
    log_probs = made.predict(given.conditions)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(4))
    nats = F.nll_loss(log_probs, given.target.values, reduction="none")
    loss = made(given, "train", SEEDS)
    torch.testing.assert_close(loss.total, nats.sum())
    assert float(loss.count) == 4
    bound = made.log_likelihood(given, seeds=SEEDS)
    torch.testing.assert_close(bound.nats, nats)
    assert bound.exact
    assert bound.predicted.tolist() == [1] * 4
    smoothed = classifier(label_smoothing=0.3)(given, "train", SEEDS).total
    torch.testing.assert_close(smoothed, 0.7 * nats.sum() - 0.3 * log_probs.mean(1).sum())


def test_a_weight_counts_an_item_as_often():
    made = classifier()
    plain = made.log_likelihood(batch(), seeds=SEEDS).nats
    loss = made(batch(weight=torch.tensor([2.0, 0, 1, 0])), "train", SEEDS)
    torch.testing.assert_close(loss.total, 2 * plain[0] + plain[2])
    assert float(loss.count) == 3


def test_padding_and_the_rest_of_the_batch_change_nothing():
    made, given = classifier(), batch()
    together = made.predict(given.conditions)
    for row in range(4):
        alone = made.predict(given.select(slice(row, row + 1)).conditions)
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-4, atol=1e-5)
    text = given.conditions["text"]
    padded = {**given.conditions, "text": replace(text, values=F.pad(text.values, (0, 3), value=5))}
    torch.testing.assert_close(made.predict(padded), together, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("network", "options"), [("encoder", {}), ("convolutional", {"read": "picture"})])
def test_an_absent_condition_is_one_that_is_missing_whatever_it_holds(network, options):
    made, given = classifier(network=network, **options), batch()
    for name in CONDITIONS:
        missing = {key: field for key, field in given.conditions.items() if key != name}
        absent = replace(given.conditions[name], present=torch.zeros(4).bool())
        left, right = (made.predict(one) for one in (missing, {**missing, name: absent}))
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)
        if made.read == name or name in made.others:
            assert (left - made.predict(given.conditions)).abs().max() > 1e-4


def test_samples_are_the_best_guess_or_are_drawn():
    made, given = classifier(), batch()
    log_probs = made.predict(given.conditions)
    best = made.sample(given.conditions, seeds=SEEDS)
    assert torch.equal(best.values, log_probs.argmax(1))
    torch.testing.assert_close(best.log_probs, log_probs.amax(1))
    many = given.map(lambda tensor: tensor[:1].repeat_interleave(3000, 0))
    drawn = made.sample(many.conditions, controls=made.Controls(temperature=1.0), seeds=torch.arange(3000)).values
    torch.testing.assert_close(
        torch.bincount(drawn, minlength=3) / 3000, log_probs[0].exp(), rtol=0, atol=4 * math.sqrt(0.25 / 3000)
    )
    with pytest.raises(Unsupported, match="prefix"):
        made.sample(given.conditions, prefix=Field(torch.zeros(4, 1).long()), seeds=SEEDS)


def test_what_is_read_is_the_first_text_or_what_is_named():
    assert classifier().read == "text"
    assert classifier(network="convolutional", read="picture").read == "picture"
    with pytest.raises(UnknownName, match="did you mean picture"):
        classifier(read="pictur")
    with pytest.raises(Unsupported, match="nothing to read"):
        classifier({"kind": CONDITIONS["kind"]})
    with pytest.raises(Unsupported, match="nothing to read"):
        classifier(read="kind")
    with pytest.raises(Unsupported, match="convolutional"):
        classifier({"picture": CONDITIONS["picture"]})
