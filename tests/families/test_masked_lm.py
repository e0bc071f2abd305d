from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from miaobi import models, networks
from miaobi.errors import UnknownName, Unsupported
from miaobi.families import Editing, Embedding, Likelihood, Sampling
from miaobi.families.masked_lm import MaskedLM
from miaobi.recipe import Recipe
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=11, max_length=9, unknown=0)
CONDITIONS = {"label": Spec(Form.LABEL, vocabulary=3)}
SEEDS = torch.arange(4) + 10


def family(target=TARGET, conditions=CONDITIONS, **options):
    torch.manual_seed(0)
    config = MaskedLM.Config(**{"condition_drop": 0, **options})
    port = MaskedLM.ports(config, target, conditions)["network"]
    kind = networks.find("encoder")
    network = kind(kind.preset("tiny", port.source, port.target, port.conditions), port.source, port.target, conditions)
    made = MaskedLM(config, {"network": network}, {}, target, conditions).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made


def batch(rows=4, **changes):
    values = torch.randint(1, 11, (rows, 9), generator=torch.Generator().manual_seed(1))
    target = Field(values, lengths=torch.tensor([9, 3, 0, 5])[:rows], **changes)
    return Batch(target, conditions={"label": Field(torch.arange(rows) % 3)}, ids=torch.arange(rows))


def seen(made, given, seeds=SEEDS, phase="train"):
    """What the network is shown, and what came of it."""
    shown = []
    handle = made.network.register_forward_pre_hook(lambda module, args: shown.append(args[0]))
    loss = made(given, phase, seeds)
    handle.remove()
    return shown[0], loss


def test_it_edits_and_embeds_and_claims_no_likelihood():
    made = family()
    assert isinstance(made, Editing)
    assert isinstance(made, Embedding)
    assert not isinstance(made, Likelihood | Sampling)
    assert made.metric(Form.TOKENS) == "masked_prediction"


@pytest.mark.parametrize("rate", [0.15, 0.4, 1.0])
def test_shares_are_those_of_the_options(rate):
    made = family(rate=rate)
    rows, length = 400, 50
    values = torch.randint(1, 11, (rows, length), generator=torch.Generator().manual_seed(2))
    given = Batch(Field(values), ids=torch.arange(rows))
    shown, loss = seen(made, given, torch.arange(rows))
    inside = shown[:, 1:-1]
    masked = (inside == made.frame.mask).float().mean()
    assert float(loss.count) / values.numel() == pytest.approx(rate, abs=0.015)
    assert float(masked) == pytest.approx(0.8 * rate, abs=0.015)
    # A random token is the old one by chance once in 11.
    changed = ((inside != values) & (inside != made.frame.mask)).float().mean()
    assert float(changed) == pytest.approx(0.1 * rate * 10 / 11, abs=0.012)
    assert (shown[:, 0] == 12).all()
    assert (shown[:, -1] == 13).all()


def test_the_loss_is_the_cross_entropy_of_the_chosen_tokens_and_no_others():
    made, given = family(rate=0.5), batch()
    shown, loss = seen(made, given)
    chosen = made._chosen(given.target, 0.5, SEEDS)
    _, real = made.frame(given.target)
    logits = made.network(shown, given.conditions, real=real)[:, 1:-1, :11]
    expected = F.cross_entropy(logits[chosen], given.target.values[chosen], reduction="sum")
    torch.testing.assert_close(loss.total, expected, rtol=1e-4, atol=1e-4)
    assert float(loss.count) == int(chosen.sum())
    assert not chosen[2].any(), "an empty item has nothing to predict"
    assert (chosen.sum(1)[given.target.lengths > 0] >= 1).all()


def test_a_tiny_rate_still_chooses_a_token_an_item():
    chosen = family()._chosen(batch().target, 1e-9, SEEDS)
    assert chosen.sum(1).tolist() == [1, 1, 0, 1]


def test_the_target_cannot_be_seen_where_it_is_masked():
    made, given = family(replaced=0, shown=0), batch()
    other = replace(given.target, values=given.target.values.masked_fill(made._chosen(given.target, 0.15, SEEDS), 1))
    assert torch.equal(seen(made, given)[0], seen(made, replace(given, target=other))[0])


def test_what_has_no_weight_is_shown_but_never_predicted():
    weight = torch.ones(4, 9)
    weight[:, :4] = 0
    made = family(rate=1.0)
    _, loss = seen(made, batch(weight=weight))
    assert float(loss.count) == 5 + 0 + 0 + 1


def test_padding_changes_no_loss():
    made, given = family(rate=0.5), batch()
    padded = replace(given.target, values=F.pad(given.target.values, (0, 4), value=3))
    left, right = (made(one, "train", SEEDS) for one in (given, replace(given, target=padded)))
    torch.testing.assert_close(left.total, right.total, rtol=1e-5, atol=1e-4)
    assert left.count == right.count


def test_masked_prediction_of_a_batch_equals_its_items_alone_and_is_what_logits_say():
    made, given = family(), batch()
    nats, right, counts = made.predict_masked(given, 0.5, SEEDS)
    for row in range(4):
        one = slice(row, row + 1)
        alone = made.predict_masked(given.select(one), 0.5, SEEDS[one])
        torch.testing.assert_close(alone[0], nats[one], rtol=1e-4, atol=1e-4)
        assert alone[1:] == (right[one], counts[one])
    chosen = made._chosen(given.target, 0.5, SEEDS)
    tokens, real = made.frame(given.target)
    tokens[:, 1:-1] = tokens[:, 1:-1].masked_fill(chosen, made.frame.mask)
    logits = made.network(tokens, given.conditions, real=real)[:, 1:-1, :11]
    expected = -logits.log_softmax(-1).gather(2, given.target.values[..., None])[..., 0]
    torch.testing.assert_close(nats, (expected * chosen).sum(1), rtol=1e-4, atol=1e-4)
    assert counts.tolist() == chosen.sum(1).tolist()


@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"steps": 1, "top_k": 3}])
def test_only_what_the_mask_marks_changes_and_rows_do_not_mind_each_other(options):
    made, given = family(), batch()
    controls = made.Controls(**options)
    mask = torch.rand(4, 9, generator=torch.Generator().manual_seed(3)) < 0.5
    out = made.edit(given, mask, controls=controls, seeds=SEEDS)
    gaps = mask & given.target.mask()
    assert torch.equal(out.values[~gaps], given.target.values[~gaps])
    assert torch.equal(out.lengths, given.target.lengths)
    assert (out.values[gaps] != 0).all(), "the unknown token is never drawn"
    assert (out.values < 11).all()
    for row in range(4):
        one = slice(row, row + 1)
        alone = made.edit(given.select(one), mask[one], controls=controls, seeds=SEEDS[one])
        assert torch.equal(alone.values, out.values[one])


def test_what_stands_in_a_gap_is_not_looked_at():
    made, given = family(), batch()
    mask = torch.zeros(4, 9).bool()
    mask[:, 1:3] = True
    other = replace(given.target, values=torch.where(mask, (given.target.values + 1) % 11, given.target.values))
    left, right = (made.edit(one, mask, seeds=SEEDS).values for one in (given, replace(given, target=other)))
    assert torch.equal(left[given.target.mask()], right[given.target.mask()])
    assert not torch.equal(made.edit(given, mask, seeds=SEEDS + 1).values, left)


def test_a_tokenizers_own_special_tokens_are_never_drawn():
    target = replace(TARGET, begin=5, end=6)
    made = family(target)
    everything = torch.ones(4, 9).bool()
    drawn = made.edit(batch(), everything, controls=made.Controls(temperature=50.0), seeds=SEEDS).values
    assert not torch.isin(drawn[batch().target.mask()], torch.tensor([0, 5, 6])).any()


def test_embeddings_do_not_mind_padding_and_only_targets_have_one():
    made, given = family(), batch()
    padded = replace(given.target, values=F.pad(given.target.values, (0, 4), value=3))
    vectors = made.embed(given)
    assert vectors.shape == (4, 64)
    torch.testing.assert_close(vectors, made.embed(replace(given, target=padded)), rtol=1e-4, atol=1e-5)
    with pytest.raises(UnknownName, match="target"):
        made.embed(given, "label")


def test_packed_rows_and_causal_networks_are_refused():
    with pytest.raises(Unsupported, match="one item a row"):
        family()(batch(segments=torch.zeros(4, 9, dtype=torch.int64)), "train", SEEDS)
    model = {"family": "masked_lm", "size": "tiny", "network": {"name": "transformer"}}
    with pytest.raises(Unsupported, match=r"does not take.*encoder"):
        models.build(Recipe.load({"modality": "text", "data": {"source": "none"}, "model": model}), TARGET, {})
