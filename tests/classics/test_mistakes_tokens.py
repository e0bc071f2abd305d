"""The mistakes that tutorials make with language models; each test fails when its mistake is planted (see plant.py)."""

import pytest
import torch

from miaobi import models
from miaobi.recipe import Recipe
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=6, max_length=12)


def family(network="lstm", **options):
    recipe = Recipe.load(
        {
            "modality": "text",
            "data": {"source": "unused"},
            "model": {"family": "autoregressive", "size": "tiny", "network": {"name": network, **options}},
        }
    )
    built = models.build(recipe, TARGET, {})
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in built.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return built


def batch():
    values = torch.tensor([[1, 2, 3, 4, 5, 0], [5, 3, 1, 0, 0, 0]])
    return Batch(Field(values, lengths=torch.tensor([6, 3])), ids=torch.arange(2))


def chain_rule(built, items, size=None):
    """Nats of each item: every token, the end too, predicted from what stands before it, one network call each."""
    layout, totals = built.layout, []
    for row, length in zip(items.target.values, items.target.lengths.tolist(), strict=True):
        sequence = [layout.begin, *row[:length].tolist(), layout.end]
        total = 0.0
        for index in range(1, len(sequence)):
            logits = built.network(torch.tensor([sequence[:index]]))[0, -1]
            total -= float(logits[: size or layout.outputs.size].log_softmax(-1)[sequence[index]])
        totals.append(total)
    return torch.tensor(totals)


@pytest.mark.parametrize("network", ["lstm", "transformer"])
def test_targets_are_the_next_tokens(network):
    built = family(network).eval()
    with torch.no_grad():
        nats = built.log_likelihood(batch(), seeds=seeds_of(0, range(2))).nats
        torch.testing.assert_close(nats.float(), chain_rule(built, batch()), rtol=1e-4, atol=1e-4)


def test_the_loss_counts_every_step_and_no_padding():
    built = family().eval()
    loss = built(batch(), "train", seeds_of(0, range(2)))
    assert float(loss.count) == (6 + 1) + (3 + 1)
    with torch.no_grad():
        expected = chain_rule(built, batch(), size=built.layout.vocabulary).sum()
    torch.testing.assert_close(loss.total.detach(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("network", ["lstm", "gru", "rnn"])
def test_hidden_state_lives_through_an_item_and_ends_with_it(network):
    built = family(network).eval().network
    tokens = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        cache = built.new_cache(1, 8)
        built.prefill(tokens[:, :2], torch.tensor([2]), cache)
        carried = [built.step(tokens[:, index], cache) for index in (2, 3)][-1]
        torch.testing.assert_close(carried, built(tokens)[:, -1], rtol=1e-4, atol=1e-5)
        first, second = built(tokens), built(tokens)
    assert torch.equal(first, second), "state leaked from one batch into the next"


def test_samples_are_fed_back():
    built = family().eval()
    made = built.sample({}, controls=built.Controls(max_length=12), seeds=seeds_of(0, range(30)))
    ended = (made.lengths < 12).nonzero()[:, 0]
    assert len(ended) > 5
    assert made.lengths[ended].max() > 2
    items = Batch(Field(made.values[ended], lengths=made.lengths[ended]))
    with torch.no_grad():
        torch.testing.assert_close(-made.log_probs[ended], chain_rule(built, items), rtol=1e-3, atol=1e-3)


def test_no_dropout_while_generating():
    built = family(dropout=0.5, depth=2).train()
    outputs = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        outputs.append(built.sample({}, seeds=seeds_of(0, range(8))).values)
    assert outputs[0].shape == outputs[1].shape
    assert torch.equal(*outputs)
    assert built.network.training, "training goes on with dropout afterwards"


def test_top_p_samples_within_the_nucleus():
    built = family().eval()
    controls = built.Controls(top_p=0.7, max_length=1)
    first = built.sample({}, controls=controls, seeds=seeds_of(0, range(300)))
    drawn = {int(v[0]) if n else built.layout.end for v, n in zip(first.values, first.lengths, strict=True)}
    with torch.no_grad():
        probabilities = built.network(torch.tensor([[built.layout.begin]]))[0, -1, : built.layout.outputs.size].softmax(
            -1
        )
    best, order = probabilities.sort(descending=True)
    nucleus = set(order[: int((best.cumsum(0) < 0.7).sum()) + 1].tolist())
    assert drawn == nucleus
    assert len(drawn) > 1, "top-p without sampling is greedy"
