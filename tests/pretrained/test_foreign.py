"""Caches of transformers' models: rows in slots of their own, and nothing seen of what is none of theirs."""

import pytest
import torch

from miaobi.pretrained._foreign import Foreign, _packed
from tests.support import public


def foreign(kind="gpt2"):
    return Foreign(public.model(kind))


def tokens(rows=3, length=6):
    return torch.randint(4, 300, (rows, length), generator=torch.Generator().manual_seed(1))


def test_what_is_packed_starts_at_zero_and_sees_its_own_past():
    mask, positions = _packed(torch.tensor([[1, 1, 1, 2, 2, 0]]))
    assert positions.tolist() == [[0, 1, 2, 0, 1, 0]]
    assert (mask[0, 0] == 0).int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_slots_that_no_row_uses_any_more_are_let_go():
    made = foreign()
    cache = made.new_cache(3)
    made.prefill(tokens(), torch.tensor([6, 1, 2]), cache)
    assert cache.real.shape == (3, 6)
    kept = cache.select(torch.tensor([1, 2, 1]))
    assert kept.real.shape == (3, 2)
    assert all(part.shape[2] == 2 for part in (*kept.keys, *kept.values))
    assert kept.lengths.tolist() == [1, 2, 1]


def test_what_fills_a_slot_is_seen_by_nobody():
    made, x = foreign(), tokens()
    lengths = torch.tensor([6, 1, 2])
    clean, dirty = made.new_cache(3), made.new_cache(3)
    made.prefill(x, lengths, clean)
    made.prefill(torch.where(torch.arange(6) < lengths[:, None], x, 17), lengths, dirty)
    for part in (*dirty.keys, *dirty.values):
        part.masked_fill_(~dirty.real[:, None, :, None], 1e3)
    assert torch.equal(made.step(x[:, 0], clean), made.step(x[:, 0], dirty))


@pytest.mark.parametrize(("kind", "plain"), [("gpt2", True), ("llama", True), ("gemma2", False)])
def test_a_head_is_plain_where_one_matrix_makes_the_logits(kind, plain):
    made = foreign(kind)
    assert made.plain is plain
    with torch.no_grad():
        expected = public.model(kind)(tokens()).logits
        torch.testing.assert_close(made.logits(made.hidden(tokens())), expected, rtol=0, atol=1e-4)
