"""Loss by context: an n-gram gains nothing beyond its order, and the same tokens are scored at every length."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.evaluation.understanding._contexts import (
    Target,
    bits,
    cut_losses,
    ladder,
    lengths_of,
    place_losses,
    targets_of,
)
from miaobi.evaluation.understanding.context_length import ContextLength
from miaobi.models import build
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from tests.evaluation.stand_ins import Uniform, context, data, sentences, text

LINES = sentences(120)
ORDER = 3


def ngram(prepared, order=ORDER):
    model = {"family": "ngram", "options": {"order": order}}
    recipe = Recipe.load({"modality": "text", "data": {"source": "none"}, "model": model})
    family = build(recipe, prepared.target, {})
    family.observe(strip(prepared.train.batch(range(len(prepared.train)))))
    return family


def strip(batch):
    batch.conditions.clear()
    return batch


@pytest.fixture(name="seen")
def _seen():
    prepared = data(text(LINES), LINES[:80], LINES[80:])
    return context(ngram(prepared), prepared, count=8)


def test_an_ngram_gains_nothing_beyond_its_order(seen):
    targets = [Target(row, place) for row in range(6) for place in (17, 22, 30)]
    losses = {length: cut_losses(seen, targets, length) for length in (0, 1, 2, 3, 4, 8, 16)}
    for length in (3, 4, 8, 16):
        np.testing.assert_allclose(losses[length], losses[ORDER - 1], rtol=1e-5, atol=1e-5)
    assert losses[1].mean() > losses[2].mean() + 0.1
    assert losses[0].mean() > losses[2].mean() + 0.1


def test_a_cut_context_gives_the_probability_of_that_context_alone(seen):
    # By hand: the counts' own probability of a token after the begin tokens and the one before it.
    family, row, place = seen.model.family, 3, 20
    tokens = seen.held.batch([row]).target.values[0]
    history = torch.tensor([[family.layout.begin, int(tokens[place - 1])]])
    own = family.counts.next_probabilities(history, torch.ones_like(history).bool(), torch.tensor([-1]))
    expected = -float(own[0, tokens[place]].log())
    assert cut_losses(seen, [Target(row, place)], 1)[0] == pytest.approx(expected, rel=1e-4)


def test_the_losses_of_all_places_add_up_to_the_items(seen):
    rows = list(range(8))
    longest = max(lengths_of(seen, rows))
    nats, counts = place_losses(seen, rows, [0, 1, 2, 4, 8, 16, longest])
    batch = strip(seen.held.batch(rows))
    whole = seen.model.family.log_likelihood(batch, seeds=seeds_of(0, rows))
    # All but the end token, which every item has once.
    assert (counts.sum(1) == whole.predicted.numpy() - 1).all()
    assert (counts[:, 0] == 1).all()
    assert (counts[:, 2] == 2).all()
    assert (nats.sum(1) < whole.nats.numpy()).all()
    alone = cut_losses(seen, [Target(0, 0)], 1)[0]
    assert nats[0, 0] == pytest.approx(alone, rel=1e-4)


def test_with_all_the_context_a_cut_is_the_place_itself(seen):
    nats, _ = place_losses(seen, [2], [0, 24, 25])
    assert cut_losses(seen, [Target(2, 24)], 24)[0] == pytest.approx(nats[0, 1], rel=1e-4)


def test_the_ladder_and_its_targets_leave_room():
    assert ladder([40, 50, 60], 1) == [1, 2, 4, 8, 16, 32]
    assert ladder([40, 50, 60], 4) == [4, 8, 16, 32]
    assert ladder([5000], 1)[-1] == 256
    assert ladder([1, 1], 1) == []
    targets = targets_of([0, 7, 9], [32, 33, 60], 32)
    assert {target.row for target in targets} == {7, 9}
    assert all(32 <= target.place < {7: 33, 9: 60}[target.row] for target in targets)
    assert len(set(targets)) == len(targets) == 9
    assert len(targets_of(range(1000), [100] * 1000, 32)) == 256


def test_interleaved_streams_are_cut_between_columns(seen):
    # A context of four tokens in columns of four: place 22 is of stream 2, so two tokens of its column stand there.
    assert cut_losses(seen, [Target(0, 22)], 4, column=4)[0] == cut_losses(seen, [Target(0, 22)], 2)[0]


def test_bits_are_a_ratio_with_an_interval_by_item():
    found = bits(np.full(6, math.log(2)), [0, 0, 1, 1, 2, 2])
    assert (found.value, found.tokens) == (pytest.approx(1), 6)
    assert found.interval == (pytest.approx(1), pytest.approx(1))
    # The same six numbers in two items are worth less than in six.
    nats = np.array([1.0, 1.1, 0.9, 2.0, 2.1, 1.9])
    few, many = bits(nats, [0, 0, 0, 1, 1, 1]).interval, bits(nats, range(6)).interval
    assert few[1] - few[0] > 2 * (many[1] - many[0])


def test_the_view_says_how_flat_an_ngram_is(seen):
    figures = ContextLength().look(seen).figures
    assert [one["tokens_before"] for one in figures["context"]] == [1, 2, 4, 8, 16, 32]
    values = [one["value"] for one in figures["context"]]
    assert values[0] > values[1]
    assert values[1:] == pytest.approx([values[1]] * 5, abs=1e-4)
    assert all(one["tokens"] == figures["targets"] for one in figures["context"])
    # Places stand next to each other and are all there are.
    edges = [(one["from"], one["to"]) for one in figures["place"]]
    assert edges[0] == (0, 0)
    assert all(later[0] == earlier[1] + 1 for earlier, later in pairwise(edges))


def test_a_bound_is_refused_and_so_are_items_of_one_token():
    prepared = data(text(LINES), LINES[:80], LINES[80:])
    bound = Uniform(prepared.modality, LINES)
    bound.exact = False
    with pytest.raises(Unsupported, match="bound"):
        ContextLength().look(context(bound, prepared, count=8))
    short = data(text(["a", "b"]), ["a", "b"], ["a", "b", "a"])
    with pytest.raises(Unsupported, match="too short"):
        ContextLength().look(context(ngram(short), short, count=2))
