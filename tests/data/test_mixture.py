"""Data sets made of others are what they are made of, row by row."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from miaobi.data.mixture import Joined, Subset, sample
from tests.support.refreshed import old


@pytest.fixture
def prepared():
    return old()


def same(left, right):
    assert torch.equal(left.ids, right.ids)
    assert torch.equal(left.target.lengths, right.target.lengths)
    longest = int(left.target.lengths.max())
    assert torch.equal(left.target.values[:, :longest], right.target.values[:, :longest])


def test_a_subset_is_its_rows_in_their_order(prepared):
    whole = prepared.train
    part = Subset(whole, np.array([7, 2, 2]))
    assert len(part) == 3
    same(part.batch([0, 1, 2]), whole.batch([7, 2, 2]))
    assert part.items([1]) == whole.items([2])
    assert (part.sizes() == whole.sizes()[[7, 2, 2]]).all()


def test_rows_of_joined_data_come_in_the_order_asked_for(prepared):
    joined = Joined([prepared.test, Subset(prepared.train, np.zeros(0)), prepared.train])
    first = len(prepared.test)
    asked = [first + 3, 1, first, 0, first + 3]
    found = joined.batch(asked)
    assert torch.equal(found.ids, joined.ids[asked])
    texts = [prepared.train.items([3]), prepared.test.items([1]), prepared.train.items([0]), prepared.test.items([0])]
    assert joined.items(asked) == [*(text[0] for text in texts), texts[0][0]]
    read = prepared.modality.split_batch(found.target.values, found.target.lengths)
    assert [prepared.modality.decode(array) for array in read] == joined.items(asked)
    assert len(joined.sizes()) == len(joined)


def test_a_choice_is_fixed_nested_and_even(prepared):
    whole = prepared.train
    few, more = (set(sample(whole, count, 3).ids.tolist()) for count in (20, 50))
    assert len(few) == 20
    assert few < more
    assert sample(whole, 20, 3).ids.tolist() == sample(whole, 20, 3).ids.tolist()
    assert sample(whole, 20, 4).ids.tolist() != sample(whole, 20, 3).ids.tolist()
    _, counts = np.unique(sample(whole, 2 * len(whole) + 5, 3).ids.numpy(), return_counts=True)
    assert sorted(set(counts.tolist())) == [2, 3]
    assert (counts == 3).sum() == 5


@given(share=st.floats(0, 0.99), new=st.integers(1, 10**6))
def test_the_share_of_replayed_items_is_what_it_says(share, new):
    from miaobi.training.continual.mixing import replay_count

    count = replay_count(new, share)
    # One item more or less is all that rounding may do.
    assert abs(count - share * (new + count)) <= 0.51
