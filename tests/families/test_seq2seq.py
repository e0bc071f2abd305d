from dataclasses import replace

import pytest
import torch

from miaobi import networks
from miaobi.errors import RequestError, UnknownName, Unsupported
from miaobi.families import Decoding, Likelihood, Sampling
from miaobi.families.seq2seq import Seq2Seq
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=11, max_length=9)
CONDITIONS = {
    "label": Spec(Form.LABEL, vocabulary=3),
    "picture": Spec(Form.TENSOR, channels=1, space=(4, 4)),
    "title": Spec(Form.TOKENS, vocabulary=11, max_length=4, shared=True),
}
NETWORKS = ["encoder_decoder", "attentive_recurrent"]
each = pytest.mark.parametrize("name", NETWORKS)


def fresh(name="encoder_decoder", target=TARGET, conditions=CONDITIONS, **options):
    torch.manual_seed(0)
    config = Seq2Seq.Config(**options)
    port = Seq2Seq.ports(config, target, conditions)["network"]
    kind = networks.find(name)
    preset = kind.preset("tiny", port.source, port.target, port.conditions)
    network = kind(preset, port.source, port.target, port.conditions)
    return Seq2Seq(config, {"network": network}, {}, target, conditions)


def family(name="encoder_decoder", **options):
    built = fresh(name, **options)
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return built


def batch(rows=4):
    generator = torch.Generator().manual_seed(1)

    def draw(high, *shape):
        return torch.randint(high, shape, generator=generator)

    target = Field(draw(11, rows, 9), lengths=torch.tensor([9, 3, 0, 5])[:rows])
    conditions = {
        "label": Field(draw(3, rows)),
        "picture": Field(torch.randn(rows, 1, 4, 4, generator=generator)),
        "title": Field(draw(11, rows, 4), lengths=torch.tensor([4, 2, 0, 1])[:rows]),
    }
    return Batch(target, conditions, ids=torch.arange(rows) + 1)


def row_of(items, row):
    return {key: field.select(slice(row, row + 1)) for key, field in items.conditions.items()}


def test_it_has_its_abilities():
    assert all(isinstance(family(), ability) for ability in (Sampling, Likelihood, Decoding))


@each
def test_likelihoods_of_a_batch_are_those_of_its_items(name):
    built, items = family(name), batch()
    bound = built.log_likelihood(items, seeds=items.ids)
    assert bound.exact
    assert bound.predicted.tolist() == [10, 4, 1, 6]
    alone = [built.log_likelihood(items.select(slice(row, row + 1)), seeds=items.ids[:1]).nats for row in range(4)]
    torch.testing.assert_close(bound.nats, torch.cat(alone), rtol=1e-4, atol=1e-4)


@each
@pytest.mark.parametrize("options", [{}, {"guidance": 2.0}, {"beams": 3}, {"beams": 2, "guidance": 2.0}])
def test_samples_of_a_batch_are_those_of_its_items_and_know_their_probability(name, options):
    built, items = family(name, target=replace(TARGET, max_length=100)), batch()
    controls = built.Controls(max_length=90, **options)
    made = built.sample(items.conditions, controls=controls, seeds=items.ids)
    for row in range(4):
        alone = built.sample(row_of(items, row), controls=controls, seeds=items.ids[row : row + 1])
        assert torch.equal(alone.values[0], made.values[row, : made.lengths[row]])
    ended = made.lengths < 90
    assert ended.any()
    nats = built.log_likelihood(Batch(made.field(), items.conditions), seeds=items.ids).nats
    torch.testing.assert_close(-made.log_probs[ended], nats[ended], rtol=1e-3, atol=1e-3)


def test_label_smoothing_is_its_closed_form():
    share, items = 0.2, batch()
    built = family(condition_drop=0.0, label_smoothing=share)
    loss = built(items, "train", items.ids)
    hidden, targets, weight = built._predictions(items)
    log_probs = (hidden @ built.network.head.T).log_softmax(-1)
    own = log_probs.gather(2, targets[..., None])[..., 0]
    expected = -(((1 - share) * own + share * log_probs.mean(-1)) * weight).sum()
    torch.testing.assert_close(loss.total, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(loss.parts["nats"], -(own * weight).sum().detach(), rtol=1e-5, atol=1e-4)
    assert float(loss.count) == 21


@each
def test_gradients_reach_what_encodes(name):
    built, items = family(name, condition_drop=0.0), batch()
    built(items, "train", items.ids).total.backward()
    encoders = built.network.conditioner.encoders
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoders.parameters())


@each
def test_padding_of_a_condition_changes_nothing(name):
    built, items = family(name), batch()
    title = items.conditions["title"]
    wider = replace(title, values=torch.cat([title.values, torch.zeros(4, 5, dtype=torch.int64)], 1))
    other = replace(items, conditions={**items.conditions, "title": wider})
    nats = [built.log_likelihood(one, seeds=one.ids).nats for one in (items, other)]
    torch.testing.assert_close(*nats, rtol=1e-5, atol=1e-5)


@each
def test_conditions_matter_until_they_are_dropped(name):
    built, items = family(name, condition_drop=1.0), batch()
    other = Batch(items.target, {}, ids=items.ids)
    torch.testing.assert_close(*(built(one, "train", one.ids).total for one in (items, other)))
    nats = [built.log_likelihood(one, seeds=one.ids).nats for one in (items, other)]
    assert not torch.allclose(*nats)


@each
def test_streaming_gives_what_sampling_gives(name):
    built, items = family(name), batch(3)
    controls = built.Controls(guidance=1.5)
    made = built.sample(items.conditions, controls=controls, seeds=items.ids)
    engine, tokens = built.engine(slots=4), {}
    for row, seed in enumerate(items.ids.tolist()):
        tokens[engine.add(row_of(items, row), controls=controls, seed=seed)] = []
        for number, token, _, _ in engine.step():
            tokens[number].append(token)
    while len(engine):
        for number, token, _, _ in engine.step():
            tokens[number].append(token)
    for row, drawn in enumerate(tokens.values()):
        body = drawn[:-1] if drawn[-1] == built.layout.end else drawn
        assert body == made.values[row, : made.lengths[row]].tolist()


def test_a_prefix_is_kept_and_continued():
    built, items = family(), batch(2)
    prefix = Field(torch.tensor([[1, 2, 3], [4, 0, 0]]), lengths=torch.tensor([3, 1]))
    for controls in (built.Controls(), built.Controls(beams=2)):
        made = built.sample(
            items.conditions, prefix=prefix, lengths=torch.tensor([9, 4]), controls=controls, seeds=items.ids
        )
        assert made.values[0, :3].tolist() == [1, 2, 3]
        assert made.values[1, 0] == 4
        assert (made.lengths <= torch.tensor([9, 4])).all()


@each
def test_targets_of_a_fixed_length_have_no_end(name):
    built = family(name, target=replace(TARGET, fixed=True))
    items = batch(2)
    for controls in (built.Controls(), built.Controls(beams=2)):
        made = built.sample(items.conditions, controls=controls, seeds=items.ids)
        assert made.lengths.tolist() == [9, 9]


@each
def test_it_learns_to_reverse(name):
    target = Spec(Form.TOKENS, vocabulary=6, max_length=5)
    built = fresh(name, target=target, conditions={"text": replace(target, shared=True)}, condition_drop=0.0)
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(2, 6, (24,), generator=generator)
    texts = [torch.randint(6, (int(length),), generator=generator) for length in lengths]
    pad = torch.nn.utils.rnn.pad_sequence
    condition = Field(pad(texts, batch_first=True), lengths=lengths)
    items = Batch(
        Field(pad([text.flip(0) for text in texts], batch_first=True), lengths=lengths),
        {"text": condition},
        ids=torch.arange(24),
    )
    optimiser = torch.optim.Adam(built.parameters(), 3e-3)
    for _ in range(250):
        loss = built(items, "train", items.ids)
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        optimiser.step()
    for controls in (built.Controls(temperature=0), built.Controls(beams=3)):
        made = built.sample(items.conditions, controls=controls, seeds=items.ids)
        written = [made.values[row, : made.lengths[row]].tolist() for row in range(24)]
        assert written == [text.flip(0).tolist() for text in texts]


def test_nothing_to_read_a_stream_and_tensors_to_write_are_refused():
    with pytest.raises(Unsupported, match="reads: tokens or a tensor"):
        Seq2Seq.ports(Seq2Seq.Config(), TARGET, {"label": CONDITIONS["label"]})
    with pytest.raises(Unsupported, match="a stream has none"):
        Seq2Seq.ports(Seq2Seq.Config(), replace(TARGET, stream=True), CONDITIONS)
    with pytest.raises(Unsupported, match="generate tokens"):
        Seq2Seq.ports(Seq2Seq.Config(), CONDITIONS["picture"], CONDITIONS)


def test_a_network_that_reads_nothing_is_refused():
    kind = networks.find("transformer")
    port = Seq2Seq.ports(Seq2Seq.Config(), TARGET, CONDITIONS)["network"].source
    network = kind(kind.preset("tiny", port, port, {}), port, port, {})
    with pytest.raises(Unsupported, match="encoder_decoder or attentive_recurrent"):
        Seq2Seq(Seq2Seq.Config(), {"network": network}, {}, TARGET, CONDITIONS)


def test_an_unknown_condition_and_a_streamed_search_are_refused():
    built, items = family(), batch(1)
    with pytest.raises(UnknownName, match="titel"):
        built.sample({"titel": items.conditions["title"]}, seeds=items.ids)
    with pytest.raises(RequestError, match="no next token"):
        built.engine(slots=1).add(items.conditions, controls=built.Controls(beams=2), seed=1)
