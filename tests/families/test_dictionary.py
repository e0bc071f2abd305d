"""A dictionary from pairs: it finds a planted one, its strengths are the textbook's, its likelihood is a bound."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from miaobi.errors import Unsupported
from miaobi.families import Counting, Likelihood, Sampling
from miaobi.families import _cooccurrence as cooccurrence
from miaobi.families._cooccurrence import NONE, Cooccurrence, ratio
from miaobi.families.dictionary import Dictionary
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=40, max_length=8)
SOURCE = Spec(Form.TOKENS, vocabulary=40, max_length=8, shared=True)
PLANTED = {token: (7 * token + 3) % 20 + 20 for token in range(20)}


def family(target=TARGET, conditions=None, **options):
    config = Dictionary.Config(**options)
    conditions = conditions or {"old": SOURCE}
    Dictionary.ports(config, target, conditions)
    return Dictionary(config, {}, {}, target, conditions)


def field(rows):
    lengths = torch.tensor([len(row) for row in rows])
    values = torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.int64) for row in rows], batch_first=True)
    return Field(values, lengths=lengths)


def batch(sources, targets):
    return Batch(field(targets), {"old": field(sources)}, ids=torch.arange(len(targets)))


def planted(count, seed=0):
    """Sentences of ten frequent and ten rare words, their translations in another order."""
    rng = np.random.default_rng(seed)
    weights = np.array([5.0] * 10 + [1.0] * 10)
    sources = [rng.choice(20, 4, p=weights / weights.sum()).tolist() for _ in range(count)]
    return sources, [[PLANTED[word] for word in rng.permutation(source).tolist()] for source in sources]


def taught(count=200):
    built = family()
    built.observe(batch(*planted(count)))
    return built


def test_it_has_its_abilities():
    assert all(isinstance(family(), ability) for ability in (Counting, Likelihood, Sampling))
    assert family().phases() == []


def test_it_finds_a_planted_dictionary_whatever_the_order_of_words():
    made = taught().sample({"old": field([list(range(8)), list(range(12, 20))])}, seeds=torch.arange(2))
    assert made.values.tolist() == [[PLANTED[token] for token in row] for row in (range(8), range(12, 20))]


def test_words_never_seen_and_words_that_nothing_belongs_to_are_copied():
    built = family()
    built.observe(batch([[1, 2], [1, 3], [1, 4]], [[21, 22], [21, 23], [21, 24]]))
    made = built.sample({"old": field([[2, 30, 1, 4]])}, seeds=torch.tensor([1]))
    # Word 1 is in every item, so that nothing is with it more often than by chance.
    assert made.values.tolist() == [[22, 30, 1, 24]]


def test_of_equally_strong_words_the_same_one_is_taken():
    built = family()
    built.observe(batch([[5], [1]], [[9, 5, 7], [2]]))
    assert built.sample({"old": field([[5]])}, seeds=torch.tensor([1])).values.tolist() == [[5]]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=4, max_size=4))
def test_strengths_are_those_of_the_g_test(cells):
    both, first, second, neither = cells
    items = sum(cells)
    columns = (np.array([both]), np.array([both + first]), np.array([both + second]))
    found = float(ratio(*columns, items)[0])
    if both * items <= (both + first) * (both + second):
        assert found == 0
        return
    table = [[both, first], [second, neither]]
    if 0 in (sum(table[0]), sum(table[1]), both + second, first + neither):
        return
    expected = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_counting_in_parts_loads_and_goes_on_as_at_once():
    sources, targets = planted(30)
    left, right, loaded = family(), family(), family()
    left.observe(batch(sources, targets))
    for start in (0, 7, 23):
        end = {0: 7, 7: 23, 23: 30}[start]
        right.observe(batch(sources[start:end], targets[start:end]))
    loaded.load_state_dict(right.state_dict())
    for name, value in left.state_dict().items():
        assert torch.equal(value, right.state_dict()[name])
    more, probe = batch(*planted(9, seed=1)), batch(*planted(5, seed=2))
    for built in (left, loaded):
        built.observe(more)
    seeds = torch.arange(5)
    assert torch.equal(left.log_likelihood(probe, seeds=seeds).nats, loaded.log_likelihood(probe, seeds=seeds).nats)


def test_pairs_that_are_held_back_are_merged_now_and_then(monkeypatch):
    sources, targets = ([[(token,) for token in row] for row in side] for side in planted(40))
    whole, parts = Cooccurrence(), Cooccurrence()
    whole.add(sources, targets)
    monkeypatch.setattr(cooccurrence, "_HELD", 10)
    for source, target in zip(sources, targets, strict=True):
        parts.add([source], [target])
    assert len(parts.keys)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, parts.state_dict()[name])


def test_too_many_pairs_are_refused(monkeypatch):
    monkeypatch.setattr(cooccurrence, "MOST_PAIRS", 20)
    with pytest.raises(Unsupported, match="too many different pairs"):
        taught().state_dict()


def by_hand(items, source, target, vocabulary, background):
    """IBM model 1 from the counts of ``items``, straight from the definitions."""
    words = [word for _, made in items for word in made]
    kinds = len(set(words))

    def alone(word):
        seen = words.count(word) if word in words else kinds / (2 * vocabulary)
        return seen / (len(words) + kinds)

    def strength(one, other):
        table = [sum((one in s) == a and (other in t) == b for s, t in items) for a in (1, 0) for b in (1, 0)]
        row = [np.array([count]) for count in (table[0], table[0] + table[1], table[0] + table[2])]
        return float(ratio(*row, len(items))[0])

    def translated(one, word):
        strengths = {other: strength(one, other) for other in set(words)}
        total = sum(strengths.values())
        return strengths.get(word, 0) / total if total else float(one == word)

    nats = 0.0
    for word in target:
        mean = sum(translated(one, word) for one in source) / len(source)
        nats -= math.log(background * alone(word) + (1 - background) * mean)
    expected = len(source) * len(words) / sum(len(s) for s, _ in items)
    return nats - stats.poisson.logpmf(len(target), expected)


def test_the_likelihood_is_that_of_the_definition():
    built = family(background=0.3)
    sources = [[1, 2, 2], [1, 3], [3, 4, 5], [2, 6]]
    targets = [[21, 22], [21, 23, 23], [23, 25], [22]]
    built.observe(batch(sources, targets))
    probes = ([1, 3], [23, 21, 33]), ([30], [30, 22])
    got = built.log_likelihood(batch(*zip(*probes, strict=True)), seeds=torch.arange(2))
    pairs = list(zip(sources, targets, strict=True))
    expected = [by_hand(pairs, source, target, 40, 0.3) for source, target in probes]
    torch.testing.assert_close(got.nats.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-5, atol=1e-5)
    assert got.predicted.tolist() == [4, 3]
    assert not got.exact


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("source", [[1, 2], [3], None])
def test_probabilities_of_all_targets_stay_within_one(observed, source):
    small = Spec(Form.TOKENS, vocabulary=4, max_length=6)
    built = family(small, {"old": Spec(Form.TOKENS, vocabulary=4, max_length=6, shared=True)})
    if observed:
        built.observe(batch([[1], [2], [1, 2]], [[0], [3], [0, 3]]))
    rows = [list(row) for size in range(1, 6) for row in itertools.product(range(4), repeat=size)]
    conditions = {} if source is None else {"old": field([source] * len(rows))}
    found = built.log_likelihood(Batch(field(rows), conditions), seeds=torch.arange(len(rows)))
    total = float((-found.nats.double()).exp().sum())
    assert 0.05 < total < 1


def test_very_long_words_keep_a_finite_likelihood():
    built = taught()
    long = batch([[1]], [[30] * 8])
    built._segmenter = None, lambda row: [tuple(row.tolist()) * 200]
    assert torch.isfinite(built.log_likelihood(long, seeds=torch.arange(1)).nats).all()


def test_temperature_draws_by_how_much_words_belong():
    built = family()
    built.observe(batch([[1]] * 4 + [[2]] * 4, [[21]] * 3 + [[22]] + [[23]] * 4))
    words, weights = built.counts.links.of_word(int(built.counts.number([(1,)])[0]))
    expected = {built.counts.word(int(word))[0]: weight for word, weight in zip(words, weights, strict=True)}
    seeds = torch.arange(2000) + 1
    made = built.sample(
        {"old": field([[1]] * 2000)}, controls=built.Controls(temperature=1), seeds=seeds
    ).values.flatten()
    assert set(made.tolist()) == {21, 22}
    assert abs(float((made == 21).float().mean()) - expected[21]) < 0.03


def test_without_a_source_words_come_as_often_as_targets_have_them():
    built = family()
    built.observe(batch([[1]] * 4, [[21, 21, 22], [21], [21, 21, 22, 22], [21]]))
    made = built.sample({}, seeds=torch.arange(1000))
    drawn = [token for row, size in zip(made.values, made.lengths, strict=True) for token in row[:size].tolist()]
    assert abs(drawn.count(21) / len(drawn) - 6 / 9) < 0.03
    assert abs(float(made.lengths.float().mean()) - 9 / 4) < 0.15


def test_items_are_cut_to_the_longest_target_and_to_lengths():
    built = taught()
    long = {"old": field([list(range(8)) * 2] * 2)}
    assert built.sample(long, seeds=torch.arange(2)).lengths.tolist() == [8, 8]
    made = built.sample(long, lengths=torch.tensor([3, 99]), seeds=torch.arange(2))
    assert made.lengths.tolist() == [3, 8]


def test_an_absent_source_is_not_counted():
    built, items = family(), batch([[1], [2]], [[21], [22]])
    items.conditions["old"] = Field(
        items.conditions["old"].values, items.conditions["old"].lengths, present=torch.tensor([True, False])
    )
    built.observe(items)
    assert built.counts.totals.tolist() == [1, 1, 1]
    assert built.counts.number([(2,)]).tolist() == [NONE]


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({}, "one condition of text"),
        ({"kind": Spec(Form.LABEL, vocabulary=3)}, "one condition of text"),
        ({"old": SOURCE, "kind": Spec(Form.LABEL, vocabulary=3)}, "one condition of text"),
        ({"old": Spec(Form.TOKENS, vocabulary=40, max_length=8)}, "one tokenizer"),
    ],
)
def test_what_it_cannot_pair_is_refused(conditions, message):
    with pytest.raises(Unsupported, match=message):
        Dictionary.ports(Dictionary.Config(), TARGET, conditions)


def test_it_neither_continues_nor_has_a_loss():
    built = taught()
    with pytest.raises(Unsupported, match="cannot continue a prefix"):
        built.sample({}, prefix=field([[1]]), seeds=torch.arange(1))
    with pytest.raises(Unsupported, match="call observe"):
        built(batch([[1]], [[1]]), "train", torch.arange(1))
