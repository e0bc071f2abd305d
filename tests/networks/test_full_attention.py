import pytest
import torch
import torch.nn.functional as F

from miaobi.networks import _full_attention
from miaobi.networks._full_attention import divisor, full_attention, join_heads, split_heads


@pytest.mark.parametrize("plain", [True, False])
def test_it_is_scaled_dot_product_attention_under_a_mask(monkeypatch, plain):
    monkeypatch.setattr(_full_attention, "PLAIN_UP_TO", 64 if plain else 0)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 8, generator=generator) for length in (5, 7, 7))
    mask = torch.arange(7)[None] < torch.tensor([7, 2])[:, None]
    want = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
    torch.testing.assert_close(full_attention(q * 8**-0.5, k, v, mask), want, rtol=1e-5, atol=1e-6)
    assert (want - full_attention(q * 8**-0.5, k, v)).abs().max() > 1e-3


def test_heads_come_apart_and_together():
    x = torch.randn(2, 5, 12)
    assert split_heads(x, 3).shape == (2, 3, 5, 4)
    assert torch.equal(join_heads(split_heads(x, 3)), x)


@pytest.mark.parametrize(("number", "at_most", "want"), [(12, 8, 6), (7, 6, 1), (5, 0, 1), (64, 64, 64), (3, 9, 3)])
def test_divisors(number, at_most, want):
    assert divisor(number, at_most) == want
