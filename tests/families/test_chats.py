"""Language models of dialogues: answers alone are learnt and measured, packed or not."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from miaobi import models
from miaobi.families.autoregressive import Autoregressive
from miaobi.modalities._dialogue import Message, dialogue_tokens
from miaobi.modalities.chat import Chat
from miaobi.recipe import Recipe
from miaobi.types import Batch, Field

ITEMS = [
    (
        Message("user", f"ask {n}"),
        Message("assistant", f"answer {n * n}"),
        Message("user", "more?"),
        Message("assistant", "no"),
    )[: 2 + n % 2 * 2]
    for n in range(5)
]
SEEDS = torch.arange(len(ITEMS))


@pytest.fixture(scope="module")
def chat() -> Chat:
    made = Chat(Chat.Config(vocabulary=300))
    made.fit(ITEMS)
    return made


def family(chat: Chat, **options: bool) -> Autoregressive:
    model = {"family": "autoregressive", "size": "tiny", "options": options}
    recipe = Recipe.load({"modality": "chat", "data": {"source": "none"}, "model": model})
    made = models.build(recipe, chat.spec, {}, modalities={"target": chat})
    assert isinstance(made, Autoregressive)
    # A fresh head is zero, which says the same of every token and tells nothing apart.
    torch.nn.init.normal_(made.network.head, std=0.5, generator=torch.Generator().manual_seed(0))
    return made.eval()


def batch_of(chat: Chat) -> Batch:
    return Batch(chat.collate([chat.encode(item) for item in ITEMS]), ids=SEEDS)


def test_packed_equals_unpacked(chat: Chat) -> None:
    batch = batch_of(chat)
    plain, packed = (family(chat, packing=packing)(batch, "train", SEEDS) for packing in (False, True))
    torch.testing.assert_close(packed.total, plain.total)
    assert packed.count == plain.count == batch.target.weight.sum() + len(ITEMS)  # type: ignore[union-attr]


def test_only_answers_are_scored(chat: Chat) -> None:
    made, batch = family(chat), batch_of(chat)
    assert batch.target.weight is not None
    tokens, weight = made.layout.sequence(batch)
    says = made.network(tokens[:, :-1])[..., : made.layout.outputs.size].log_softmax(-1)
    drawable = tokens[:, 1:, None].clamp(max=made.layout.outputs.size - 1)
    nats = -says.gather(2, drawable)[..., 0]
    bound = made.log_likelihood(batch, seeds=SEEDS)
    # Begin and end are the layout's; what is learnt of an item is the modality's.
    expected = torch.stack([(row * counted).sum() for row, counted in zip(nats, weight[:, 1:], strict=True)])
    torch.testing.assert_close(bound.nats, expected)
    assert bound.predicted is not None
    assert bound.predicted.tolist() == (batch.target.weight.sum(1) + 1).tolist()
    everything = made.log_likelihood(Batch(Field(batch.target.values, batch.target.lengths), ids=SEEDS), seeds=SEEDS)
    assert (everything.nats > bound.nats + math.log(2)).all()


def test_the_head_learns_nothing_elsewhere(chat: Chat) -> None:
    made, batch = family(chat), batch_of(chat)
    kept: list[torch.Tensor] = []
    original = made.network.forward

    def watched(*args: Any, **kwargs: Any) -> torch.Tensor:
        hidden = original(*args, **kwargs)
        hidden.retain_grad()
        kept.append(hidden)
        return hidden

    made.network.forward = watched  # type: ignore[method-assign]
    made(batch, "train", SEEDS).total.backward()
    gradient = kept[0].grad
    assert gradient is not None
    weight = made.layout.sequence(batch)[1][:, 1:]
    assert (gradient.abs().sum(-1) > 0).equal(weight > 0)


def test_samples_begin_with_what_was_said_before_the_last_answer(chat: Chat) -> None:
    start = batch_of(chat).target.before_last()
    assert start is not None
    assert start.lengths is not None
    for row, item in enumerate(ITEMS):
        wanted = dialogue_tokens(chat.tokenizer, item[:-1])
        assert start.values[row, : start.lengths[row]].tolist() == wanted.tolist()
    assert Field(torch.zeros(1, 3, dtype=torch.int64)).before_last() is None
