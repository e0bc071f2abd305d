"""Infilling: what each order looks like, that both sides are kept and matter, and that plain items lose nothing."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from miaobi import networks
from miaobi.errors import RequestError, Unsupported
from miaobi.families import Decoding, Editing, Likelihood, Sampling
from miaobi.families._gapped import GappedLayout, Order
from miaobi.families.infilling import Infilling, _cuts
from miaobi.sampling.noise import seeds_of
from miaobi.types import Batch, Field, Form, Spec

TARGET = Spec(Form.TOKENS, vocabulary=11, max_length=9)
CONDITIONS = {"label": Spec(Form.LABEL, vocabulary=3)}
# The target's 11, then end and begin, the label's opening, null and 3 classes, and the three marks.
END, BEGIN, OPENING, LABELS, MARKS, SIZE = 11, 12, 13, 15, (18, 19, 20), 21


def family(target=TARGET, conditions=CONDITIONS, **options):
    torch.manual_seed(0)
    config = Infilling.Config(**options)
    port = Infilling.ports(config, target, conditions)["network"]
    kind = networks.find("transformer")
    network = kind(kind.preset("tiny", port.source, port.target, {}), port.source, port.target, {})
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Infilling(config, {"network": network}, {}, target, conditions).eval()


def batch(*rows, labels=None):
    target = Field(
        torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True),
        lengths=torch.tensor([len(row) for row in rows]),
    )
    return Batch(target, {"label": Field(torch.tensor(labels or [0] * len(rows)))}, ids=torch.arange(len(rows)) + 1)


def marked(rows, *spans):
    mask = torch.zeros(len(spans), rows.target.values.shape[1], dtype=torch.bool)
    for row, span in enumerate(spans):
        mask[row, slice(*span)] = True
    return mask


def test_it_has_its_abilities():
    assert all(isinstance(family(), ability) for ability in (Sampling, Likelihood, Decoding, Editing))


def test_every_order_written_out():
    layout = GappedLayout(TARGET, CONDITIONS)
    assert (layout.end, layout.begin, layout.marks, layout.vocabulary) == (END, BEGIN, MARKS, SIZE)
    items = batch([1, 2, 3, 4, 5], [6, 7], [1, 2, 3, 4, 5], labels=[0, 1, 2])
    orders = torch.tensor([Order.PREFIX_FIRST, Order.PLAIN, Order.SUFFIX_FIRST])
    tokens, weight = layout.gapped(items, orders, torch.tensor([1, 1, 1]), torch.tensor([3, 2, 3]))
    before, after, middle = MARKS
    assert tokens.tolist() == [
        [OPENING, LABELS, BEGIN, before, 1, after, 4, 5, middle, 2, 3, END],
        [OPENING, LABELS + 1, BEGIN, 6, 7, END, *[0] * 6],
        [OPENING, LABELS + 2, BEGIN, before, after, 4, 5, middle, 1, 2, 3, END],
    ]
    assert weight.int().tolist() == [
        [0, 0, 0, 0, 1, 0, 1, 1, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1, *[0] * 6],
        [0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1],
    ]


def test_weights_go_where_their_tokens_go():
    items = batch([1, 2, 3, 4])
    items = replace(items, target=replace(items.target, weight=torch.tensor([[0.1, 0.2, 0.3, 0.4]])))
    layout = GappedLayout(TARGET, CONDITIONS)
    tokens, weight = layout.gapped(items, torch.tensor([Order.PREFIX_FIRST]), torch.tensor([1]), torch.tensor([2]))
    own = tokens[0] < TARGET.vocabulary
    torch.testing.assert_close(weight[0][own], tokens[0][own] / 10)


@given(st.lists(st.integers(0, 10), min_size=1, max_size=9), st.sampled_from(list(Order)), st.data())
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_and_the_plain_order_is_the_layouts_own(tokens, order, draw):
    begin = draw.draw(st.integers(0, len(tokens)))
    end = draw.draw(st.integers(begin, len(tokens)))
    layout = GappedLayout(TARGET, {})
    items = Batch(Field(torch.tensor([tokens], dtype=torch.int64)), ids=torch.tensor([1]))
    found, weight = layout.gapped(items, torch.tensor([order]), torch.tensor([begin]), torch.tensor([end]))
    assert found.shape[1] <= layout.span
    parts = tokens[:begin], tokens[begin:end], tokens[end:]
    if order is Order.PLAIN:
        plain = layout.sequence(items)
        assert torch.equal(found, plain[0])
        assert torch.equal(weight, plain[1])
    else:
        opened = layout.opened([layout.begin], parts[0], parts[2], order)
        assert found[0].tolist() == [*opened, *parts[1], layout.end]


def test_a_part_of_the_items_is_rearranged_and_the_loss_is_that_of_the_sequences():
    items = batch(*[[1, 2, 3, 4, 5, 6, 7, 8, 9]] * 400)
    seeds = seeds_of(0, items.ids)
    built = family(infill_rate=0.4, suffix_first=0.25)
    orders = built._orders(seeds)
    shares = [(orders == order).float().mean().item() for order in Order]
    assert shares == pytest.approx([0.6, 0.3, 0.1], abs=0.06)
    few = items.select(slice(0, 4))
    plain = family(infill_rate=1e-9, condition_drop=0)(few, "train", seeds[:4])
    nats = built.log_likelihood(few, seeds=seeds[:4]).nats
    # The loss is over the whole vocabulary, the likelihood over what can be drawn.
    assert plain.count == 40
    assert plain.total > nats.sum()
    torch.testing.assert_close(plain.total, built_loss(family(infill_rate=1e-9), few))
    gapped = family(infill_rate=1, condition_drop=0)(few, "train", seeds[:4])
    assert gapped.count == plain.count
    assert not torch.isclose(gapped.total, plain.total)


def built_loss(built, items):
    tokens, weight = built.layout.sequence(items)
    logits = built.network(tokens[:, :-1])
    nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:], reduction="none")
    return (nats * weight[:, 1:]).sum()


def test_cuts_fall_anywhere():
    items = batch(*[[1, 2, 3]] * 300, [])
    begins, ends = _cuts(items.target, seeds_of(0, items.ids))
    assert {(b, e) for b, e in zip(begins.tolist(), ends.tolist(), strict=True)} == {
        (b, e) for b in range(4) for e in range(b, 4)
    }
    assert (begins[-1], ends[-1]) == (0, 0)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_both_sides_are_kept_and_a_batch_equals_its_items(share):
    built = family(replace(TARGET, max_length=30), suffix_first=share)
    items = batch([1, 2, 3, 4, 5], [6, 7, 8], [9, 1], labels=[0, 1, 2])
    mask, seeds = marked(items, (2, 4), (0, 1), (1, 2)), torch.tensor([1, 2, 3])
    made = built.edit(items, mask, seeds=seeds)
    rows = [row[:length] for row, length in zip(made.values.tolist(), made.lengths.tolist(), strict=True)]
    assert (rows[0][:2], rows[0][-1:], rows[1][-2:], rows[2][:1]) == ([1, 2], [5], [7, 8], [9])
    for row in range(3):
        one = slice(row, row + 1)
        alone = built.edit(items.select(one), mask[one], seeds=seeds[one])
        assert alone.values[0].tolist() == rows[row]
        torch.testing.assert_close(alone.log_probs, made.log_probs[one], rtol=1e-4, atol=1e-4)


def test_what_is_drawn_has_the_probability_that_the_network_gives_it_there():
    built = family()
    items = batch([1, 2, 3, 4, 5])
    made = built.edit(items, marked(items, (2, 3)), seeds=torch.tensor([4]))
    middle = made.values[0, 2 : int(made.lengths[0]) - 2].tolist()
    opened = built.layout.opened([OPENING, LABELS, BEGIN], [1, 2], [4, 5], Order.SUFFIX_FIRST)
    tokens = torch.tensor([[*opened, *middle, END]])
    first = len(opened) - 1
    log_probs = built.network(tokens[:, :-1])[0, first:, : END + 1].log_softmax(-1)
    drawn = log_probs.gather(1, tokens[0, first + 1 :, None])
    ended = int(made.lengths[0]) < TARGET.max_length
    torch.testing.assert_close(made.log_probs[0], (drawn if ended else drawn[:-1]).sum(), rtol=1e-3, atol=1e-3)


def test_it_learns_to_read_both_sides():
    """The middle says what stands right before and right after the gap: no order of reading one side gives that."""
    built = family(conditions={}, infill_rate=0.9, target=replace(TARGET, max_length=5))
    optimiser = torch.optim.Adam(built.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)

    def items(count):
        sides = torch.randint(5, (count, 2), generator=generator)
        values = torch.stack([sides[:, 0], sides[:, 0] * 0 + 5 + sides[:, 0], sides[:, 1] + 5, sides[:, 1]], 1)
        return Batch(Field(values), ids=torch.arange(count) + 1)

    for step in range(150):
        some = items(64)
        loss = built(some, "train", seeds_of(step, some.ids))
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        optimiser.step()
    held = items(50)
    mask = torch.tensor([[False, True, True, False]]).expand(50, -1)
    made = built.eval().edit(held, mask, controls=built.Controls(temperature=0), seeds=seeds_of(9, held.ids))
    right = [made.values[row, :4].tolist() == held.target.values[row].tolist() for row in range(50)]
    assert sum(right) >= 45


def test_lengths_are_the_whole_items():
    built, items = family(replace(TARGET, max_length=20)), batch([1, 2, 3, 4, 5])
    mask = marked(items, (1, 2))
    short = built.edit(items, mask, controls=built.Controls(max_length=6), seeds=torch.tensor([1]))
    long = built.edit(items, mask, controls=built.Controls(min_length=20), seeds=torch.tensor([1]))
    assert int(short.lengths[0]) <= 6
    assert int(long.lengths[0]) == 20
    with pytest.raises(RequestError, match="no room"):
        built.edit(items, mask, controls=built.Controls(max_length=4), seeds=torch.tensor([1]))


def test_guidance_moves_the_middle():
    built, items = family(replace(TARGET, max_length=30)), batch([1, 2, 3], labels=[2])
    mask = marked(items, (1, 2))
    made = [
        built.edit(items, mask, controls=built.Controls(guidance=weight, temperature=0), seeds=torch.tensor([1]))
        for weight in (0.0, 1.0, 8.0)
    ]
    assert len({tuple(one.values[0].tolist()) for one in made}) > 1


@pytest.mark.parametrize("spans", [(0, 0), None])
def test_one_gap_an_item(spans):
    built, items = family(), batch([1, 2, 3, 4, 5])
    mask = marked(items, spans) if spans else torch.tensor([[True, False, True, False, False]])
    with pytest.raises(RequestError, match="one gap"):
        built.edit(items, mask, seeds=torch.tensor([1]))


def test_stop_strings_are_refused():
    built, items = family(), batch([1, 2, 3])
    with pytest.raises(RequestError, match="leave stop out"):
        built.edit(items, marked(items, (1, 2)), controls=built.Controls(stop="x"), seeds=torch.tensor([1]))


@pytest.mark.parametrize("change", [{"stream": True}, {"fixed": True}])
def test_items_without_an_end_are_refused(change):
    with pytest.raises(Unsupported, match="end by themselves"):
        Infilling.ports(Infilling.Config(), replace(TARGET, **change), {})
