import torch
import torch.nn.functional as F

from miaobi.networks import _functions as ours
from miaobi.networks._attention import BLOCK, causal_attention, same_segment
from miaobi.networks._tokens import Unpacked


def check(function, *shapes, extra=()):
    torch.manual_seed(0)
    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *x: function(*x, *extra), inputs, eps=1e-6, atol=1e-4)


def test_gradients_are_those_of_plain_autograd():
    check(ours.swiglu, (3, 5), (3, 5))
    tables = ours.rotary_tables(torch.arange(4), 6, 100.0)
    check(ours.rotate, (2, 4, 6), extra=[table.double() for table in tables])


def test_rms_norm_is_torchs_with_its_gradients():
    torch.manual_seed(0)
    x, weight = torch.randn(4, 7, 8, requires_grad=True), torch.randn(8, requires_grad=True)
    out, expected = ours.rms_norm(x, weight, 1e-5), F.rms_norm(x, (8,), weight, 1e-5)
    torch.testing.assert_close(out, expected)
    chosen = torch.randn(4, 7, 8)
    left = torch.autograd.grad((out * chosen).sum(), (x, weight))
    right = torch.autograd.grad((expected * chosen).sum(), (x, weight))
    for got, wanted in zip(left, right, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_rotation_depends_on_distance_only():
    q, k = torch.randn(2, 1, 8)
    near = [ours.rotary_tables(torch.tensor([place]), 8, 100.0) for place in (2, 5)]
    far = [ours.rotary_tables(torch.tensor([place]), 8, 100.0) for place in (12, 15)]
    first, second = (float(ours.rotate(q, *a) @ ours.rotate(k, *b).T) for a, b in (near, far))
    assert abs(first - second) < 1e-4


def test_blocks_of_attention_equal_sdpa():
    torch.manual_seed(0)
    length = BLOCK + 9
    q, k, v = torch.randn(2, 4, length, 8), torch.randn(2, 2, length, 8), torch.randn(2, 2, length, 8)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(causal_attention(q * 8**-0.5, k, v), expected, rtol=1e-4, atol=1e-5)
    segments = (torch.arange(length) // 50).expand(2, -1)
    mask = same_segment(segments)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None], enable_gqa=True)
    torch.testing.assert_close(causal_attention(q * 8**-0.5, k, v, mask=mask), expected, rtol=1e-4, atol=1e-5)


def test_packed_rows_are_taken_apart_and_put_together():
    segments = torch.tensor([[4, 4, 4, 0, 0], [7, 1, 1, 1, 1]])
    x = torch.arange(10.0).view(2, 5, 1)
    rows = Unpacked(segments)
    apart = rows.split(x)
    assert apart[..., 0].tolist() == [[0, 1, 2, 0], [3, 4, 0, 0], [5, 0, 0, 0], [6, 7, 8, 9]]
    assert torch.equal(rows.merge(apart), x)
