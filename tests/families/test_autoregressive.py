from dataclasses import replace

import pytest
import torch

from miaobi import networks
from miaobi.errors import RequestError, Unsupported
from miaobi.families import Decoding, Likelihood, Sampling
from miaobi.families.autoregressive import Autoregressive
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=11, max_length=9)
CONDITIONS = {
    "label": Spec(Form.LABEL, vocabulary=3),
    "title": Spec(Form.TOKENS, vocabulary=11, max_length=4, shared=True),
}


def family(name="transformer", target=TARGET, conditions=CONDITIONS, **options):
    torch.manual_seed(0)
    config = Autoregressive.Config(**options)
    port = Autoregressive.ports(config, target, conditions)["network"]
    kind = networks.find(name)
    network = kind(kind.preset("tiny", port.source, port.target, {}), port.source, port.target, {})
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Autoregressive(config, {"network": network}, {}, target, conditions)


def batch(rows=4):
    generator = torch.Generator().manual_seed(1)

    def draw(high, *shape):
        return torch.randint(high, shape, generator=generator)

    target = Field(draw(11, rows, 9), lengths=torch.tensor([9, 3, 0, 5])[:rows])
    title = Field(draw(11, rows, 4), lengths=torch.tensor([4, 2, 0, 1])[:rows])
    return Batch(target, {"label": Field(draw(3, rows)), "title": title}, ids=torch.arange(rows) + 1)


def test_it_has_its_abilities():
    assert all(isinstance(family(), ability) for ability in (Sampling, Likelihood, Decoding))


@pytest.mark.parametrize("name", ["transformer", "lstm", "gru", "rnn", "causal_convolutional"])
def test_likelihoods_of_a_batch_are_those_of_its_items(name):
    built, items = family(name), batch()
    bound = built.log_likelihood(items, seeds=items.ids)
    assert bound.exact
    assert bound.predicted.tolist() == [10, 4, 1, 6]
    alone = [built.log_likelihood(items.select(slice(row, row + 1)), seeds=items.ids[:1]).nats for row in range(4)]
    torch.testing.assert_close(bound.nats, torch.cat(alone), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["transformer", "lstm", "gru", "rnn", "causal_convolutional"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_samples_of_a_batch_are_those_of_its_items_and_know_their_probability(name, guidance):
    built, items = family(name, target=replace(TARGET, max_length=40)), batch()
    controls = built.Controls(guidance=guidance, max_length=30, temperature=0.8)
    made = built.sample(items.conditions, controls=controls, seeds=items.ids)
    for row in range(4):
        conditions = {key: field.select(slice(row, row + 1)) for key, field in items.conditions.items()}
        alone = built.sample(conditions, controls=controls, seeds=items.ids[row : row + 1])
        assert torch.equal(alone.values[0], made.values[row, : made.lengths[row]])
    ended = made.lengths < 30
    assert ended.any()
    nats = built.log_likelihood(Batch(made.field(), items.conditions), seeds=items.ids).nats
    torch.testing.assert_close(-made.log_probs[ended], nats[ended], rtol=1e-3, atol=1e-3)


def test_the_loss_is_the_likelihood_over_the_whole_vocabulary():
    built, items = family(condition_drop=0.0), batch()
    loss = built(items, "train", items.ids)
    assert float(loss.count) == 21
    bound = built.log_likelihood(items, seeds=items.ids)
    assert loss.total.detach() > bound.nats.sum()
    torch.testing.assert_close(loss.parts["nats"], loss.total.detach())
    smooth = family(condition_drop=0.0, label_smoothing=0.2)(items, "train", items.ids)
    assert not torch.equal(smooth.total, loss.total)
    torch.testing.assert_close(smooth.parts["nats"], loss.parts["nats"])


def test_conditions_matter_until_they_are_dropped():
    built, items = family(condition_drop=1.0), batch()
    other = Batch(items.target, {}, ids=items.ids)
    torch.testing.assert_close(*(built(one, "train", one.ids).total for one in (items, other)))
    nats = [built.log_likelihood(one, seeds=one.ids).nats for one in (items, other)]
    assert not torch.allclose(*nats)


def test_a_prefix_is_kept_and_continued():
    built = family()
    prefix = Field(torch.tensor([[1, 2, 3], [4, 0, 0]]), lengths=torch.tensor([3, 1]))
    made = built.sample({}, prefix=prefix, lengths=torch.tensor([9, 4]), seeds=torch.tensor([1, 2]))
    assert made.values[0, :3].tolist() == [1, 2, 3]
    assert made.values[1, 0] == 4
    assert (made.lengths <= torch.tensor([9, 4])).all()


def test_a_prefix_without_room_and_a_stream_without_start_are_refused():
    with pytest.raises(RequestError, match="no room"):
        family().sample({}, prefix=Field(torch.zeros(1, 9, dtype=torch.int64)), seeds=torch.tensor([1]))
    stream = Spec(Form.TOKENS, vocabulary=11, max_length=9, stream=True)
    with pytest.raises(RequestError, match="give a prompt"):
        family(target=stream, conditions={}).sample({}, seeds=torch.tensor([1]))


def test_a_stream_starts_where_its_tokenizer_says_and_goes_past_its_context():
    stream = Spec(Form.TOKENS, vocabulary=11, max_length=9, stream=True, begin=7)
    built = family(target=stream, conditions={})
    made = built.sample({}, controls=built.Controls(max_length=40), seeds=torch.tensor([1, 2]))
    assert made.lengths.tolist() == [40, 40]
    assert made.values[:, 0].tolist() == [7, 7]


def test_greedy_decoding_needs_no_seed():
    built = family()
    made = [built.sample({}, controls=built.Controls(temperature=0), seeds=torch.tensor([s])).values for s in (1, 2)]
    assert torch.equal(*made)


def test_streaming_gives_what_sampling_gives():
    built, items = family(), batch(2)
    controls = built.Controls(max_length=20)
    made = built.sample(items.conditions, controls=controls, seeds=items.ids)
    engine, tokens = built.engine(slots=4), {}
    for row, seed in enumerate(items.ids.tolist()):
        conditions = {key: field.select(slice(row, row + 1)) for key, field in items.conditions.items()}
        tokens[engine.add(conditions, controls=controls, seed=seed)] = []
        for number, token, _, _ in engine.step():
            tokens[number].append(token)
    while len(engine):
        for number, token, _, _ in engine.step():
            tokens[number].append(token)
    for row, drawn in enumerate(tokens.values()):
        body = drawn[:-1] if drawn[-1] == built.layout.end else drawn
        assert body == made.values[row, : made.lengths[row]].tolist()


def test_a_network_that_is_not_over_tokens_is_refused():
    mlp = networks.find("mlp")
    port = Spec(Form.TENSOR, channels=4)
    network = mlp(mlp.preset("tiny", port, port, {}), port, port, {})
    with pytest.raises(Unsupported, match="transformer, lstm"):
        Autoregressive(Autoregressive.Config(), {"network": network}, {}, TARGET, {})
