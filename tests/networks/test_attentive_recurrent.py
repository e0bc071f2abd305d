from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from miaobi.errors import Unsupported
from miaobi.networks import Conditioning
from miaobi.networks.attentive_recurrent import AttentiveRecurrent
from miaobi.types import Field, Form, Spec

PORT = Spec(Form.TOKENS, vocabulary=20, max_length=40)
CONDITIONS = {
    "label": Spec(Form.LABEL, vocabulary=3),
    "sound": Spec(Form.TENSOR, channels=2, space=(16,)),
    "text": Spec(Form.TOKENS, vocabulary=15, max_length=8, shared=True),
}
SHAPES = [{}, {"depth": 1}, {"depth": 3, "score": "additive"}, {"encoder_depth": 0}, {"copying": True}]


def network(conditions=CONDITIONS, **options):
    torch.manual_seed(0)
    built = AttentiveRecurrent(
        AttentiveRecurrent.Config(**{"width": 8, "hidden": 12, **options}), PORT, PORT, conditions
    ).eval()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


def tokens(rows=4, length=30):
    return torch.randint(20, (rows, length), generator=torch.Generator().manual_seed(1))


def told(rows=slice(None)):
    generator = torch.Generator().manual_seed(2)
    text = Field(torch.randint(15, (4, 8), generator=generator), lengths=torch.tensor([8, 3, 0, 5]))
    fields = {
        "label": Field(torch.tensor([0, 1, 2, 0])),
        "sound": Field(torch.randn(4, 2, 16, generator=generator), present=torch.tensor([True, False, False, True])),
        "text": replace(text, present=torch.tensor([True, True, True, False])),
    }
    return {name: field.select(rows) for name, field in fields.items()}


@pytest.mark.parametrize("options", SHAPES)
def test_long_prompts_and_many_steps_equal_the_parallel_pass(options):
    built, x, rows, lengths = network(**options), tokens(), torch.arange(4), torch.tensor([4, 17, 11, 1])
    with torch.no_grad():
        full, cache = built(x, told()), built.new_cache(4, 40)
        cache.tell(built.sources(told(), 4))
        got = [(built.prefill(x[:, :17], lengths, cache), lengths)]
        got += [(built.step(x[rows, lengths + fed], cache), lengths + fed + 1) for fed in range(8)]
        more, at = torch.tensor([3, 1, 2, 2]), lengths + 8
        again = torch.stack([x[row, at[row] : at[row] + 3] for row in range(4)])
        got.append((built.prefill(again, more, cache), at + more))
    for logits, length in got:
        torch.testing.assert_close(logits, full[rows, length - 1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("score", ["general", "additive"])
def test_a_batch_reads_as_its_items_do_alone(score):
    built, x = network(score=score), tokens()
    with torch.no_grad():
        together = built(x, told())
        alone = torch.cat([built(x[row : row + 1], told(slice(row, row + 1))) for row in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_padding_of_a_condition_changes_nothing():
    built, x, given = network(), tokens(), told()
    field = given["text"]
    noisy = torch.where(field.mask(), field.values, torch.full_like(field.values, 7))
    wider = {**given, "text": replace(field, values=torch.cat([noisy, torch.full((4, 3), 7)], 1))}
    with torch.no_grad():
        torch.testing.assert_close(built(x, given), built(x, wider), rtol=1e-5, atol=1e-5)


def test_attention_is_the_textbooks():
    built = network({"text": CONDITIONS["text"]}, score="additive", depth=1)
    read = built.read({"text": Field(torch.tensor([[1, 2, 3]]))}, 1)
    states = torch.randn(1, 2, 12)
    with torch.no_grad():
        context = built.attention(states, built.prepare(read))
        score, keys = built.attention, read.sequence[0]
        for place in range(2):
            energies = (score.query(states[0, place]) + score.key(keys)).tanh() @ score.out
            torch.testing.assert_close(context[0, place], energies.softmax(0) @ keys)


def test_gradients_reach_the_encoder():
    torch.manual_seed(0)
    built = AttentiveRecurrent(AttentiveRecurrent.Config(width=8, hidden=12), PORT, PORT, CONDITIONS)
    torch.nn.init.normal_(built.output.weight)
    built(tokens(), told()).square().mean().backward()
    parameters = built.conditioner.encoders.parameters()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)


@pytest.mark.parametrize("options", SHAPES)
def test_autocast_changes_little(options):
    built, x = network(**options), tokens()
    with torch.no_grad():
        exact = built(x, told())
        with torch.autocast("cpu", torch.bfloat16):
            rough = built(x, told())
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        built(x, told()).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in built.parameters() if p.grad is not None)


def test_it_starts_uniform():
    built = AttentiveRecurrent(AttentiveRecurrent.preset("tiny", PORT, PORT, CONDITIONS), PORT, PORT, CONDITIONS)
    assert (built(tokens(), told()) == 0).all()


def test_nothing_to_read_and_an_unknown_score_are_refused():
    with pytest.raises(Unsupported, match="there is none"):
        AttentiveRecurrent.preset("tiny", PORT, PORT, {})
    with pytest.raises(Unsupported, match="none enters as a sequence"):
        network(conditioner={"sound": Conditioning(how="vector"), "text": Conditioning(how="vector")})
    with pytest.raises(ValidationError, match="general"):
        AttentiveRecurrent.Config(score="best")


def test_dropout_acts_in_training_only():
    built, x = network(dropout=0.5), tokens()
    assert torch.equal(built(x, told()), built(x, told()))
    built.train()
    assert not torch.equal(built(x, told()), built(x, told()))
