import pytest
import torch
import torch.nn.functional as F

from miaobi.families import _cross_entropy
from miaobi.families._cross_entropy import head_loss, token_divergence, token_nats


def inputs():
    torch.manual_seed(0)
    hidden, head = torch.randn(20, 6, requires_grad=True), torch.randn(9, 6, requires_grad=True)
    return hidden, head, torch.randint(9, (20,)), torch.rand(20)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("elements", [1 << 22, 30])
def test_chunks_equal_torchs_loss_and_gradients(smoothing, elements, monkeypatch):
    monkeypatch.setattr(_cross_entropy, "CHUNK_ELEMENTS", elements)
    hidden, head, targets, weight = inputs()
    total, nats = head_loss(hidden, head, targets, weight, smoothing)
    expected = (F.cross_entropy(hidden @ head.T, targets, reduction="none", label_smoothing=smoothing) * weight).sum()
    torch.testing.assert_close(total, expected)
    plain = (F.cross_entropy(hidden @ head.T, targets, reduction="none") * weight).sum()
    torch.testing.assert_close(nats, plain.detach())
    got = torch.autograd.grad(total * 0.5, (hidden, head))
    wanted = torch.autograd.grad(expected * 0.5, (hidden, head))
    for left, right in zip(got, wanted, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


def test_autocast_computes_in_bfloat16():
    hidden, head, targets, weight = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        total, _ = head_loss(hidden, head, targets, weight)
    exact, _ = head_loss(hidden, head, targets, weight)
    assert total.dtype is torch.float32
    assert 0 < (total - exact).abs() < 0.05 * exact
    total.backward()
    assert hidden.grad.dtype is torch.float32


def test_a_banned_token_leaves_its_probability_to_the_others(monkeypatch):
    monkeypatch.setattr(_cross_entropy, "CHUNK_ELEMENTS", 30)
    hidden, head, _, _ = inputs()
    nats = torch.stack([token_nats(hidden, head, torch.full((20,), token), banned=4) for token in range(9)])
    assert torch.isinf(nats[4]).all()
    torch.testing.assert_close((-nats).exp().sum(0), torch.ones(20))


def test_no_tokens_make_no_loss():
    hidden, head, targets, weight = inputs()
    total, _ = head_loss(hidden[:0], head, targets[:0], weight[:0])
    assert total == 0


@pytest.mark.parametrize("headless", [False, True])
def test_nats_of_tokens_are_differentiable_a_chunk_at_a_time(headless, monkeypatch):
    monkeypatch.setattr(_cross_entropy, "CHUNK_ELEMENTS", 30)
    hidden, head, targets, weight = inputs()
    logits = hidden @ head.T
    nats = token_nats(logits, None, targets, banned=4) if headless else token_nats(hidden, head, targets, banned=4)
    expected = F.cross_entropy(logits.index_fill(1, torch.tensor([4]), float("-inf")), targets, reduction="none")
    known = targets != 4
    torch.testing.assert_close(nats[known], expected[known])
    got = torch.autograd.grad((nats * weight)[known].sum(), (hidden, head), retain_graph=True)
    wanted = torch.autograd.grad((expected * weight)[known].sum(), (hidden, head))
    for left, right in zip(got, wanted, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("banned", [None, 4])
def test_the_divergence_of_two_heads_is_torchs(banned, monkeypatch):
    monkeypatch.setattr(_cross_entropy, "CHUNK_ELEMENTS", 30)
    hidden, head, _, _ = inputs()
    other = torch.randn(20, 9)
    kept = [token for token in range(9) if token != banned]
    log_probs, others = ((hidden @ head.T)[:, kept].log_softmax(1), other[:, kept].log_softmax(1))
    expected = F.kl_div(others, log_probs, reduction="none", log_target=True).sum(1)
    torch.testing.assert_close(token_divergence((hidden, head), (other, None), banned), expected)
    assert token_divergence((hidden, head), (hidden, head), banned).abs().max() < 1e-6
