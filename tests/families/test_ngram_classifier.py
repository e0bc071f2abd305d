"""Naive Bayes over runs of tokens: its probabilities are those of counting by hand."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi.errors import Unsupported
from miaobi.families.ngram_classifier import NgramClassifier
from miaobi.types import Batch, Field, Form, Spec

LABEL = Spec(Form.LABEL, vocabulary=2)
TEXTS = {"text": Spec(Form.TOKENS, vocabulary=5, max_length=6)}
BUCKETS = 1 << 20
"""So many that no two of the few runs here share one."""


def made(order=2, smoothing=0.5, conditions=TEXTS, buckets=BUCKETS):
    config = NgramClassifier.Config(order=order, smoothing=smoothing, buckets=buckets)
    return NgramClassifier(config, {}, {}, LABEL, conditions)


def field(texts):
    values = torch.zeros(len(texts), max(map(len, texts)), dtype=torch.int64)
    for row, text in enumerate(texts):
        values[row, : len(text)] = torch.tensor(text)
    return Field(values, lengths=torch.tensor([len(text) for text in texts]))


def batch(texts, labels):
    return Batch(Field(torch.tensor(labels)), {"text": field(texts)}, ids=torch.arange(len(texts)) + 1)


def runs(text, order):
    return [tuple(text[at : at + n]) for n in range(1, order + 1) for at in range(len(text) - n + 1)]


def by_hand(texts, labels, asked, order, smoothing):
    counts = [Counter(), Counter()]
    for text, label in zip(texts, labels, strict=True):
        counts[label].update(runs(text, order))
    known = counts[0] | counts[1]
    scores = []
    for label in range(2):
        score = math.log(labels.count(label) + smoothing)
        total = counts[label].total() + smoothing * len(known)
        score += sum(math.log((counts[label][run] + smoothing) / total) for run in runs(asked, order) if run in known)
        scores.append(score)
    highest = max(scores)
    norm = highest + math.log(sum(math.exp(score - highest) for score in scores))
    return [score - norm for score in scores]


text = st.lists(st.integers(0, 4), min_size=1, max_size=6)


@settings(max_examples=30)
@given(
    items=st.lists(st.tuples(text, st.integers(0, 1)), min_size=1, max_size=6),
    asked=st.lists(text, min_size=1, max_size=4),
    order=st.integers(1, 3),
    smoothing=st.sampled_from([0.1, 1.0]),
)
def test_probabilities_are_those_of_counting_by_hand(items, asked, order, smoothing):
    texts, labels = [one for one, _ in items], [label for _, label in items]
    family = made(order, smoothing)
    family.observe(batch(texts, labels))
    found = family.predict({"text": field(asked)})
    wanted = torch.tensor([by_hand(texts, labels, one, order, smoothing) for one in asked])
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_one_item_on_paper():
    # Class 0 saw token 1 twice, class 1 saw token 2 once; two runs are known, smoothing 1, equal priors.
    family = made(order=1, smoothing=1)
    assert torch.equal(family.predict({"text": field([[1]])})[0].exp(), torch.tensor([0.5, 0.5]))
    family.observe(batch([[1, 1], [2]], [0, 1]))
    first, second = (2 + 1) / (2 + 2), (0 + 1) / (1 + 2)
    found = family.predict({"text": field([[1, 3]])})[0].exp()
    torch.testing.assert_close(found, torch.tensor([first, second]) / (first + second))


def test_likelihoods_and_samples_are_of_the_same_probabilities():
    family, items = made(), batch([[1, 2], [3], [1, 2, 4]], [0, 1, 1])
    family.observe(items)
    says = family.predict(items.conditions)
    bound = family.log_likelihood(items, seeds=torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(bound.nats, -says[torch.arange(3), items.target.values])
    drawn = family.sample(items.conditions, seeds=torch.zeros(3, dtype=torch.int64))
    assert torch.equal(drawn.values, says.argmax(1))


def test_the_order_of_tokens_matters_only_beyond_single_ones():
    items = batch([[1, 2], [2, 1]], [0, 1])
    for order, same in ((1, True), (2, False)):
        family = made(order)
        family.observe(items)
        says = family.predict(items.conditions)
        assert torch.allclose(says[0], says[1]) is same


def test_texts_are_told_apart_and_an_absent_one_says_nothing():
    family = made(conditions={**TEXTS, "title": TEXTS["text"]})
    here, gone = field([[1], [1]]), torch.tensor([False, False])
    titled = Field(here.values, lengths=here.lengths, present=gone)
    items = Batch(Field(torch.tensor([0, 1])), {"text": here, "title": titled}, ids=torch.tensor([1, 2]))
    family.observe(items)
    assert int(family.counts.sum()) == 2
    prior = family.predict({"title": titled})[0].exp()
    torch.testing.assert_close(prior, torch.tensor([0.5, 0.5]))
    family.observe(Batch(Field(torch.tensor([1])), {"title": field([[1]])}, ids=torch.tensor([3])))
    assert float(family.predict({"text": field([[1]])})[0, 1]) != float(family.predict({"title": field([[1]])})[0, 1])


def test_what_it_cannot_count_is_refused():
    config = NgramClassifier.Config()
    with pytest.raises(Unsupported, match="no text to count"):
        NgramClassifier.ports(config, LABEL, {"kind": LABEL})
    with pytest.raises(Unsupported, match="too large"):
        NgramClassifier.ports(config, Spec(Form.LABEL, vocabulary=1000), TEXTS)
