from dataclasses import replace

import pytest
import torch

from miaobi import networks
from miaobi.errors import Unsupported
from miaobi.families import Likelihood, Predicting, Sampling
from miaobi.families.regressor import Regressor
from miaobi.types import Batch, Field, Form, Spec, vector_spec

TARGET = vector_spec(2)
CONDITIONS = {"text": Spec(Form.TOKENS, vocabulary=11, max_length=9), "kind": Spec(Form.LABEL, vocabulary=4)}
SEEDS = torch.arange(3)


def regressor(target=TARGET, **options):
    torch.manual_seed(0)
    config = Regressor.Config(**options)
    port = Regressor.ports(config, target, CONDITIONS)["network"]
    kind = networks.find("encoder")
    preset = kind.preset("tiny", port.source, port.target, port.conditions)
    network = kind(preset, port.source, port.target, port.conditions)
    made = Regressor(config, {"network": network}, {}, target, CONDITIONS).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def batch():
    generator = torch.Generator().manual_seed(1)
    text = torch.randint(11, (3, 9), generator=generator)
    conditions = {"text": Field(text, lengths=torch.tensor([9, 3, 0])), "kind": Field(torch.arange(3))}
    return Batch(Field(torch.randn(3, 2, generator=generator)), conditions=conditions, ids=torch.arange(3))


@pytest.mark.parametrize(("loss", "error"), [("squared", torch.square), ("absolute", torch.abs)])
def test_the_loss_is_the_sum_of_errors(loss, error):
    made, given = regressor(loss=loss), batch()
    expected = error(made.predict(given.conditions) - given.target.values).sum()
    found = made(given, "train", SEEDS)
    torch.testing.assert_close(found.total, expected)
    assert found.count == 3


def test_samples_are_the_estimates_alone_or_together():
    made, given = regressor(), batch()
    said = made.predict(given.conditions)
    assert torch.equal(made.sample(given.conditions, seeds=SEEDS).values, said)
    for row in range(3):
        alone = made.predict(given.select(slice(row, row + 1)).conditions)
        torch.testing.assert_close(alone, said[row : row + 1], rtol=1e-4, atol=1e-5)
    absent = {**given.conditions, "text": replace(given.conditions["text"], present=torch.zeros(3).bool())}
    missing = {"kind": given.conditions["kind"]}
    torch.testing.assert_close(made.predict(absent), made.predict(missing), rtol=1e-4, atol=1e-5)


def test_it_claims_what_it_can_do_and_refuses_pictures():
    made = regressor()
    assert isinstance(made, Predicting)
    assert isinstance(made, Sampling)
    assert not isinstance(made, Likelihood)
    with pytest.raises(Unsupported, match="modality: number"):
        regressor(Spec(Form.TENSOR, 1, (8, 8)))
