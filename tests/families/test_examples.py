"""Examples that a prompt shows: which items are kept, which are chosen, and in which order."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.families._examples import Pool, choose, permuted
from miaobi.sampling.noise import noise, uniform
from miaobi.types import Batch, Field, Form, Spec

SPECS = {
    "target": Spec(Form.LABEL, vocabulary=3),
    "text": Spec(Form.TOKENS, vocabulary=9, max_length=4),
}
ids_of_items = st.lists(st.integers(1, 10**6), min_size=1, max_size=30, unique=True)


def items(ids: list[int]) -> Batch:
    """Each item says its id in tokens."""
    numbers = torch.tensor(ids)
    text = torch.stack([numbers // 9**place % 9 for place in range(4)], 1)
    lengths = 1 + numbers % 4
    return Batch(Field(numbers % 3), {"text": Field(text, lengths=lengths, present=numbers % 5 > 0)}, ids=numbers)


def described(batch: Batch) -> torch.Tensor:
    return batch.conditions["text"].values[:, :1].float() + torch.zeros(1, 2)


def filled(ids: list[int], size: int = 6, parts: int = 1) -> Pool:
    pool = Pool(size, SPECS, 2)
    for part in range(parts):
        if ids[part::parts]:
            pool.take(items(ids[part::parts]), described)
    return pool


@given(ids_of_items, st.integers(1, 4))
def test_the_smallest_keys_are_kept_however_the_items_come(ids, parts):
    pool = filled(ids, parts=parts)
    keys = uniform(torch.tensor(ids), "pool")
    kept = keys.argsort(stable=True)[:6]
    assert len(pool) == len(kept)
    assert torch.equal(pool.keys[: len(pool)], keys[kept])
    wanted = items([ids[place] for place in kept.tolist()])
    found = pool.rows(torch.arange(len(pool)))
    assert torch.equal(found.target.values, wanted.target.values)
    text, said = found.conditions["text"], wanted.conditions["text"]
    assert torch.equal(text.is_present(), said.is_present())
    for row in said.is_present().nonzero()[:, 0].tolist():
        length = int(said.lengths[row])
        assert int(text.lengths[row]) == length
        assert torch.equal(text.values[row, :length], said.values[row, :length])
    # What describes an item moves with it.
    assert torch.equal(pool.features[: len(pool), 0], found.conditions["text"].values[:, 0].float())


def test_only_what_is_kept_is_described():
    seen = []

    def describe(batch):
        seen.append(len(batch))
        return described(batch)

    pool = Pool(4, SPECS, 2)
    pool.take(items([*range(1, 41)]), describe)
    pool.take(items([int(uniform(torch.arange(1, 41), "pool").argmax()) + 1]), describe)
    assert seen == [4]


def test_items_that_are_too_long_are_cut():
    pool = Pool(2, SPECS)
    pool.take(Batch(Field(torch.tensor([1])), {"text": Field(torch.arange(7)[None])}, ids=torch.tensor([3])), described)
    text = pool.rows(torch.arange(1)).conditions["text"]
    assert (text.values.tolist(), text.lengths.tolist()) == ([[0, 1, 2, 3]], [4])


def unit(seed: int, rows: int) -> torch.Tensor:
    return torch.nn.functional.normalize(noise(torch.arange(rows) + 1000 * seed, "unit", (3,)), dim=1)


@given(st.integers(0, 50), st.integers(1, 8), st.integers(1, 9))
def test_the_similar_are_the_nearest_by_brute_force(seed, rows, count):
    pool, query = unit(seed, rows), unit(seed + 100, 1)[0]
    found = choose("similar", query, pool, count)
    ranked = sorted(range(rows), key=lambda row: float((pool[row] * query).sum()))
    assert found.tolist() == ranked[-min(count, rows) :]


@given(st.integers(0, 50), st.integers(1, 8), st.integers(1, 8))
def test_the_diverse_maximise_marginal_relevance_by_brute_force(seed, rows, count):
    pool, query = unit(seed, rows), unit(seed + 100, 1)[0]
    chosen: list[int] = []
    while len(chosen) < min(count, rows):
        scores = {
            row: 0.5 * float(pool[row] @ query) - 0.5 * max((float(pool[row] @ pool[c]) for c in chosen), default=0.0)
            for row in range(rows)
            if row not in chosen
        }
        chosen.append(max(scores, key=scores.__getitem__))
    assert choose("diverse", query, pool, count).tolist() == chosen[::-1]


def test_random_takes_the_same_for_every_item():
    assert choose("random", unit(1, 1)[0], unit(2, 5), 3).tolist() == [0, 1, 2]


@given(st.integers(0, 20), st.integers(0, 10**6))
def test_an_order_is_a_permutation_and_always_the_same(count, order):
    found = permuted(count, order)
    assert sorted(found) == list(range(count))
    assert found == permuted(count, order)


def test_orders_differ_and_the_first_is_their_own():
    assert permuted(6, 0) == list(range(6))
    assert len({tuple(permuted(6, order)) for order in range(1, 30)}) > 20


@pytest.mark.parametrize("how", ["similar", "diverse"])
def test_without_anything_to_compare_the_first_are_taken(how):
    assert choose(how, None, unit(0, 4), 2).tolist() == [0, 1]
