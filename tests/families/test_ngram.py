import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.errors import Unsupported
from miaobi.families import Counting, Likelihood, Sampling
from miaobi.families.ngram import NGram
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=4, max_length=8)
LABEL = {"label": Spec(Form.LABEL, vocabulary=3)}
SEEDS = torch.arange(6) + 1


def family(order=3, target=TARGET, conditions=LABEL):
    config = NGram.Config(order=order)
    NGram.ports(config, target, conditions)
    return NGram(config, {}, {}, target, conditions)


def batch(seed, rows=6, labelled=True):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(4, (rows, 8), generator=generator)
    lengths = torch.randint(1, 9, (rows,), generator=generator)
    label = Field(torch.randint(3, (rows,), generator=generator))
    return Batch(Field(values, lengths=lengths), {"label": label} if labelled else {}, ids=SEEDS[:rows])


def taught(**options):
    built = family(**options)
    for seed in range(4):
        built.observe(batch(seed, labelled=bool(built.conditions)))
    return built


def test_it_has_its_abilities():
    assert all(isinstance(family(), ability) for ability in (Counting, Likelihood, Sampling))
    assert family().phases() == []


def by_hand(sequences, order, context, token, outputs):
    """Witten and Bell's recursion, straight from the definition."""
    if context is None:
        return 1 / outputs
    shorter = by_hand(sequences, order, context[1:] if context else None, token, outputs)
    size = len(context)
    followers = [
        row[place] for row in sequences for place in range(order - 1, len(row)) if row[place - size : place] == context
    ]
    distinct = len(set(followers))
    return (followers.count(token) + distinct * shorter) / (len(followers) + distinct) if followers else shorter


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_likelihoods_are_those_of_the_definition(order):
    built = taught(order=order, conditions={})
    begin, end = built.layout.begin, built.layout.end

    def sequences(items):
        rows = zip(items.target.values.tolist(), items.target.lengths.tolist(), strict=True)
        return [[begin] * (order - 1) + row[:length] + [end] for row, length in rows]

    seen = [row for seed in range(4) for row in sequences(batch(seed))]
    probe = batch(9, labelled=False)
    expected = [
        sum(
            torch.tensor(by_hand(seen, order, row[place - order + 1 : place], row[place], 5)).log().item()
            for place in range(order - 1, len(row))
        )
        for row in sequences(probe)
    ]
    got = built.log_likelihood(probe, seeds=SEEDS)
    torch.testing.assert_close(-got.nats, torch.tensor(expected), rtol=1e-4, atol=1e-4)
    assert got.predicted.tolist() == (probe.target.lengths + 1).tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(0, 1000), st.integers(-1, 2))
def test_probabilities_sum_to_one(order, seed, label):
    built = taught(order=order)
    history = torch.randint(6, (3, order - 1), generator=torch.Generator().manual_seed(seed))
    real = torch.ones_like(history, dtype=torch.bool)
    probabilities = built.counts.next_probabilities(history, real, torch.full((3,), label))
    assert (probabilities[:, :5] > 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(3, dtype=torch.float64))


def test_order_and_size_of_batches_do_not_matter_and_counts_load():
    left, right, loaded = family(), family(), family()
    for seed in (0, 1, 2):
        left.observe(batch(seed))
    for seed in (2, 0, 1):
        items = batch(seed)
        right.observe(items.select(slice(0, 4)))
        right.observe(items.select(slice(4, 6)))
    loaded.load_state_dict(left.state_dict())
    for name, value in left.state_dict().items():
        assert torch.equal(value, right.state_dict()[name])
        assert torch.equal(value, loaded.state_dict()[name])
    loaded.observe(batch(3))
    right.observe(batch(3))
    probe = batch(9)
    assert torch.equal(loaded.log_likelihood(probe, seeds=SEEDS).nats, right.log_likelihood(probe, seeds=SEEDS).nats)


def test_labels_tell_items_apart_and_absent_ones_fall_back():
    built = family(order=2)
    for label in range(3):
        values = torch.full((6, 8), label)
        built.observe(Batch(Field(values), {"label": Field(torch.full((6,), label))}))
    probe = Field(torch.zeros(3, 8, dtype=torch.int64))
    own = built.log_likelihood(Batch(probe, {"label": Field(torch.arange(3))}), seeds=SEEDS).nats
    none = built.log_likelihood(Batch(probe), seeds=SEEDS).nats
    assert own[0] < none[0] < own[1]
    dropped = Field(torch.arange(3), present=torch.zeros(3, dtype=torch.bool))
    torch.testing.assert_close(built.log_likelihood(Batch(probe, {"label": dropped}), seeds=SEEDS).nats, none)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_samples_are_those_of_single_items_and_know_their_probability(order):
    built, items = taught(order=order), batch(7)
    controls = built.Controls(max_length=30)
    made = built.sample(items.conditions, controls=controls, seeds=SEEDS)
    for row in range(6):
        conditions = {"label": items.conditions["label"].select(slice(row, row + 1))}
        alone = built.sample(conditions, controls=controls, seeds=SEEDS[row : row + 1])
        assert torch.equal(alone.values[0], made.values[row, : made.lengths[row]])
    ended = made.lengths < 30
    nats = built.log_likelihood(Batch(made.field(), items.conditions), seeds=SEEDS).nats
    torch.testing.assert_close(-made.log_probs[ended], nats[ended], rtol=1e-4, atol=1e-4)


def test_items_may_join_others_under_way():
    built, conditions = taught(), batch(9).conditions
    engine, tokens = built.engine(slots=6), {}

    def step():
        for number, token, _, _ in engine.step():
            tokens[number].append(token)

    for row, seed in enumerate(SEEDS.tolist()):
        fields = {name: field.select(slice(row, row + 1)) for name, field in conditions.items()}
        tokens[engine.add(fields, controls=built.Controls(), seed=seed)] = []
        step()
    while len(engine):
        step()
    made = built.sample(conditions, seeds=SEEDS)
    for row, drawn in enumerate(tokens.values()):
        body = [token for token in drawn if token != built.layout.end]
        assert body == made.values[row, : made.lengths[row]].tolist()


def test_streams_count_inside_their_windows():
    stream = Spec(Form.TOKENS, vocabulary=4, max_length=8, stream=True, begin=0)
    built = family(order=3, target=stream, conditions={})
    built.observe(Batch(Field(torch.tensor([[0, 1, 2, 3, 0, 1, 2, 3]] * 3))))
    assert int(built.counts.levels[0].counts.sum()) == 3 * 7
    made = built.sample({}, controls=built.Controls(max_length=12, temperature=0), seeds=torch.tensor([1]))
    assert made.values[0].tolist() == [0, 1, 2, 3] * 3


def test_what_it_cannot_count_is_refused():
    with pytest.raises(Unsupported, match="labels only"):
        family(conditions={"title": Spec(Form.TOKENS, vocabulary=4, max_length=3)})
    with pytest.raises(Unsupported, match="fewer labels"):
        family(conditions={name: Spec(Form.LABEL, vocabulary=1000) for name in "ab"})
    with pytest.raises(Unsupported, match="call observe"):
        family()(batch(0), "train", SEEDS)


def test_unconditional_pays_no_regard_to_conditions():
    title = {"title": Spec(Form.TOKENS, vocabulary=4, max_length=3)}
    config = NGram.Config(order=2, unconditional=True)
    target = Spec(Form.TOKENS, vocabulary=4, max_length=5)
    NGram.ports(config, target, title)
    blind = NGram(config, {}, {}, target, title)
    items = Field(torch.tensor([[1, 2, 3]] * 4), lengths=torch.full((4,), 3))
    titles = Field(torch.tensor([[1], [2], [3], [1]]))
    blind.observe(Batch(items, {"title": titles}))
    given = blind.sample({"title": titles.select(slice(0, 3))}, seeds=torch.arange(3))
    assert torch.equal(given.values, blind.sample({}, seeds=torch.arange(3)).values)
