"""Prompted models: what is asked is the plain model's prompt behind examples, and answers are what it finds likely."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from miaobi.errors import Unsupported
from miaobi.families._examples import choose
from miaobi.families.autoregressive import Autoregressive
from miaobi.families.prompted import Prompted
from miaobi.networks.transformer import Transformer
from miaobi.sampling.noise import seeds_of, uniform
from miaobi.types import Batch, Field, Form, Spec

OPENING, ASK, ANSWER, END, NEXT = 9, 10, 11, 12, 8
TEXT = Spec(Form.TOKENS, vocabulary=13, max_length=5, end=END)
LABEL = Spec(Form.LABEL, vocabulary=3)
CONDITIONS = {"text": Spec(Form.TOKENS, vocabulary=13, max_length=6, end=END, shared=True)}
WORDS = [[1], [2, 3], [2, 4, 5]]
TEMPLATE: dict[str, Any] = {
    "opening": [OPENING],
    "pieces": [[ASK], "text", [ANSWER]],
    "between": [END, NEXT],
    "end": END,
    "context": 96,
}


def made(target: Spec = TEXT, limit: int | None = None, kind: Any = Prompted, **options: Any) -> Any:
    template = {**TEMPLATE, **({"answers": WORDS} if target.form is Form.LABEL else {})}
    config = kind.Config.parse({"condition_drop": 0, "template": template, **options})
    port = kind.ports(config, target, CONDITIONS)["network"]
    held = limit

    class Limited(Transformer):
        """One with a context as published models have."""

        @property
        def limit(self):
            return held

    settings = Transformer.preset("tiny", port.source, port.target, {})
    network = Limited(settings, port.source, port.target, {})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return kind(config, {"network": network}, {}, target, CONDITIONS).eval()


def batch(rows: int, seed: int = 0, label: bool = False) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def drawn(most: int) -> Field:
        values = torch.randint(0, 8, (rows, most), generator=generator)
        return Field(values, lengths=torch.randint(1, most + 1, (rows,), generator=generator))

    target = Field(torch.randint(0, 3, (rows,), generator=generator)) if label else drawn(5)
    return Batch(target, {"text": drawn(6)}, ids=torch.arange(rows) + 1000 * seed + 1)


def text_of(field: Field, row: int) -> list[int]:
    return field.values[row, : int(field.lengths[row])].tolist()  # type: ignore[index]


def shown_by_hand(items: Batch, row: int) -> list[int]:
    """An item as an example: the turn, its answer, and what follows an answer."""
    answer = WORDS[int(items.target.values[row])] if items.target.values.ndim == 1 else text_of(items.target, row)
    return [ASK, *text_of(items.conditions["text"], row), ANSWER, *answer, END, NEXT]


def asked_by_hand(items: Batch, row: int) -> list[int]:
    return [ASK, *text_of(items.conditions["text"], row), ANSWER]


def pool_order(items: Batch) -> list[int]:
    return uniform(items.ids, "pool").argsort().tolist()


def nats(network: Any, before: list[int], after: list[int]) -> float:
    with torch.no_grad():
        says = network(torch.tensor([[*before, *after]]))[0].log_softmax(-1)
    return -sum(float(says[len(before) - 1 + place, token]) for place, token in enumerate(after))


def test_without_examples_it_is_the_plain_model():
    plain, asked = made(kind=Autoregressive), made(shots=0, pool=4)
    asked.observe(batch(6, seed=1))
    asked.network.load_state_dict(plain.network.state_dict())
    items, seeds = batch(4), seeds_of(3, range(4))
    theirs, ours = (one.sample(items.conditions, seeds=seeds) for one in (plain, asked))
    assert torch.equal(theirs.values, ours.values)
    assert torch.equal(theirs.lengths, ours.lengths)
    torch.testing.assert_close(
        plain.log_likelihood(items, seeds=seeds).nats, asked.log_likelihood(items, seeds=seeds).nats
    )


def test_a_prompt_is_the_opening_the_examples_and_the_items_turn():
    family, pool, items = made(shots=2, pool=4, select="random"), batch(6, seed=1), batch(3)
    family.observe(pool)
    first, second = pool_order(pool)[:2]
    requests = family.requests(items.conditions, None, None, family.Controls(), seeds_of(0, range(3)))
    for row, request in enumerate(requests):
        wanted = [OPENING, *shown_by_hand(pool, first), *shown_by_hand(pool, second), *asked_by_hand(items, row)]
        assert list(request.tokens) == wanted
        assert request.head == len(wanted)


def test_likelihoods_are_of_the_answer_and_its_end_behind_examples():
    family, pool, items = made(shots=2, pool=4, select="random"), batch(6, seed=1), batch(3)
    family.observe(pool)
    found = family.log_likelihood(items, seeds=seeds_of(0, range(3)))
    before = [OPENING, *(token for row in pool_order(pool)[:2] for token in shown_by_hand(pool, row))]
    for row in range(3):
        answer = [*text_of(items.target, row), END]
        wanted = nats(family.network, [*before, *asked_by_hand(items, row)], answer)
        assert float(found.nats[row]) == pytest.approx(wanted, rel=1e-4)
        assert int(found.predicted[row]) == len(answer)


def prompts_by_hand(family: Any, items: Batch, pool: Batch, asked: list[list[int]]) -> list[list[int]]:
    order = pool_order(pool)[: family.config.pool]
    features = torch.stack([described(family, asked_by_hand(pool, row)) for row in order])
    made = []
    for row, turn in enumerate(asked):
        query = described(family, asked_by_hand(items, row))
        chosen = choose(family.config.select, query, features, family.config.shots).tolist()
        shown = [token for place in chosen for token in shown_by_hand(pool, order[place])]
        made.append([OPENING, *shown, *turn])
    return made


def described(family: Any, turn: list[int]) -> torch.Tensor:
    """The mean state over a turn, without the opening."""
    with torch.no_grad():
        states = family.network(torch.tensor([[OPENING, *turn]]), logits=False)[0, 1:]
    return torch.nn.functional.normalize(states.mean(0), dim=0)


@pytest.mark.parametrize("calibrate", [False, True])
@pytest.mark.parametrize("select", ["random", "similar", "diverse"])
def test_a_class_is_scored_by_its_words_and_their_end(select, calibrate):
    family = made(LABEL, shots=3, pool=8, select=select, calibrate=calibrate)
    pool, items = batch(12, seed=1, label=True), batch(5, label=True)
    family.observe(pool)
    asked = [asked_by_hand(items, row) for row in range(5)]
    prompts = prompts_by_hand(family, items, pool, asked)
    # Zhao et al. divide by what the same prompt says of an item without content.
    blank = prompts_by_hand(family, items, pool, [[ASK, ANSWER]] * 5)
    scores = torch.tensor([[-nats(family.network, prompt, [*word, END]) for word in WORDS] for prompt in prompts])
    base = torch.tensor([[-nats(family.network, prompt, [*word, END]) for word in WORDS] for prompt in blank])
    wanted = (scores - base * calibrate).log_softmax(1)
    found = family.predict(items.conditions)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
    said = family.log_likelihood(items, seeds=seeds_of(0, range(5))).nats
    torch.testing.assert_close(said, -wanted.gather(1, items.target.values[:, None])[:, 0], atol=1e-4, rtol=1e-4)
    assert torch.equal(family.sample(items.conditions, seeds=seeds_of(0, range(5))).values, wanted.argmax(1))


@pytest.mark.parametrize("order", [0, 7])
def test_where_the_context_is_short_the_farthest_examples_are_left_out(order):
    pool, items = batch(12, seed=1, label=True), batch(4, label=True)
    asked = [asked_by_hand(items, row) for row in range(4)]
    roomy = made(LABEL, shots=4, pool=8)
    limit = roomy.layout.span + 25
    family = made(LABEL, limit=limit, shots=4, pool=8, order=order)
    for one in (roomy, family):
        one.observe(pool)
    for row, prompt in enumerate(prompts_by_hand(roomy, items, pool, asked)):
        kept = prompt[1 : len(prompt) - len(asked[row])]
        examples = split(kept)
        while sum(map(len, examples)) > 25:
            examples.pop(0)
        found = split(family.shown(items.conditions, 4)[row][1:])
        assert 0 < len(found) < 4
        assert sorted(found) == sorted(examples)
        assert order or found == examples


def split(tokens: list[int]) -> list[list[int]]:
    """Examples, each up to what follows an answer."""
    found: list[list[int]] = [[]]
    for before, token in zip([0, *tokens], tokens, strict=False):
        found[-1].append(token)
        if (before, token) == (END, NEXT):
            found.append([])
    return found[:-1]


def test_an_order_shows_the_same_examples_in_another_one():
    family, items = made(LABEL, shots=4, pool=8), batch(3, label=True)
    family.observe(batch(12, seed=1, label=True))
    own = [split(row[1:]) for row in family.shown(items.conditions, 3)]
    with family.ordered(5):
        other = [split(row[1:]) for row in family.shown(items.conditions, 3)]
    assert own != other
    assert [sorted(row) for row in own] == [sorted(row) for row in other]
    assert own == [split(row[1:]) for row in family.shown(items.conditions, 3)]


def test_an_absent_condition_leaves_its_place_empty():
    family, items = made(LABEL, shots=0), batch(2, label=True)
    gone = Field(items.conditions["text"].values, lengths=torch.tensor([3, 3]), present=torch.tensor([False, False]))
    wanted = torch.tensor([-nats(family.network, [OPENING, ASK, ANSWER], [*word, END]) for word in WORDS])
    torch.testing.assert_close(family.predict({"text": gone})[0], wanted.log_softmax(0), atol=1e-4, rtol=1e-4)


def test_more_shots_than_items_show_what_there_is():
    family, pool = made(shots=10, pool=10, select="random"), batch(2, seed=1)
    assert family.shown(batch(1).conditions, 1) == [[]]
    family.observe(pool)
    assert len(split(family.shown(batch(1).conditions, 1)[0][1:])) == 2


def test_what_it_cannot_do_is_refused():
    with pytest.raises(Unsupported, match="no classes"):
        made().predict(batch(2).conditions)
    with pytest.raises(Unsupported, match="reads a text"):
        Prompted.ports(Prompted.Config(condition_drop=0), LABEL, {"kind": LABEL})
    with pytest.raises(Unsupported, match="no loss"):
        made().forward(batch(2), "train", seeds_of(0, range(2)))
